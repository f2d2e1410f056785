import { expect, test } from "vitest";
import { explainRefusal, refusalText } from "./refusals.ts";

const vllm = (message: string) => JSON.stringify({ error: { message, type: "T", param: null, code: 400 } });
const old = (message: string) => JSON.stringify({ object: "error", message, type: "T", code: 400 });

test.each([
  { status: 401, body: '{"error":"Unauthorized"}', reason: "EngineUnauthorized", retryable: false },
  { status: 404, body: '{"detail":"Not Found"}', reason: "EngineRuntimeUpdatingDisabled", retryable: false },
  { status: 404, body: vllm("Loading lora x failed: No adapter found for acme/x"), reason: "ArtifactNotFound", retryable: true },
  { status: 404, body: old("No adapter found for acme/x"), reason: "ArtifactNotFound", retryable: true },
  { status: 400, body: vllm("The lora adapter 'x' has already been loaded."), reason: "NameConflict", retryable: true },
  { status: 400, body: vllm("'x' conflicts with a served base model"), reason: "NameConflict", retryable: false },
  { status: 500, body: vllm("LoRA rank 64 is greater than max_lora_rank 16."), reason: "EngineRefused", retryable: false },
  { status: 500, body: vllm("CUDA out of memory"), reason: "EngineRefused", retryable: true },
  { status: 500, body: vllm("EngineCore encountered an issue"), reason: "EngineUnavailable", retryable: true },
  { status: 404, body: vllm("Loading lora x failed: No adapter found for /models/x"), reason: "ArtifactNotFound", retryable: false },
  { status: 500, body: "Internal Server Error", reason: "EngineRefused", retryable: true },
  { status: 503, body: "", reason: "EngineUnavailable", retryable: true },
  { status: 418, body: "<html>", reason: "EngineRefused", retryable: false },
])("HTTP $status $body is $reason", ({ status, body, reason, retryable }) => {
  expect(explainRefusal({ status, body })).toMatchObject({ reason, retryable });
});

test.each([
  { body: vllm("a"), want: "a" },
  { body: old("b"), want: "b" },
  { body: '{"detail":"c"}', want: "c" },
  { body: '{"error":"d"}', want: "d" },
  { body: '{"detail":[{"msg":"e"}]}', want: '[{"msg":"e"}]' },
  { body: " text\n", want: "text" },
  { body: "null", want: "null" },
])("the words of $body", ({ body, want }) => {
  expect(refusalText(body)).toBe(want);
});
