import { expect, test } from "vitest";
import { explainRefusal, refusalText } from "./engine-refusals.ts";

const worker = (text: string) =>
  `Call to add_lora method failed: Worker failed with error '${text}', please check the stack trace above for the root cause`;

test.each([
  { name: "nested", body: '{"error":{"message":"no","type":"x","param":null,"code":500}}', want: "no" },
  { name: "flat", body: '{"object":"error","message":"no","type":"x","param":null,"code":400}', want: "no" },
  { name: "detail", body: '{"detail":"Not Found"}', want: "Not Found" },
  { name: "detail as a list", body: '{"detail":[{"msg":"x"}]}', want: '[{"msg":"x"}]' },
  { name: "error as a string", body: '{"error":"Unauthorized"}', want: "Unauthorized" },
  { name: "no JSON", body: " Internal Server Error\n", want: "Internal Server Error" },
  { name: "JSON null", body: "null", want: "null" },
])("reads an error body: $name", ({ body, want }) => {
  expect(refusalText(body)).toBe(want);
});

test.each([
  {
    status: 401,
    text: "Unauthorized",
    reason: "EngineUnauthorized",
    retryable: false,
    says: ["additionalConfig.api-key", "apiKeySecretRef"],
  },
  {
    status: 404,
    text: "Not Found",
    reason: "EngineRuntimeUpdatingDisabled",
    retryable: false,
    says: ["VLLM_ALLOW_RUNTIME_LORA_UPDATING=True", "--enable-lora"],
  },
  {
    status: 500,
    text: worker("LoRA is not enabled. Use --enable-lora to enable LoRA."),
    reason: "EngineRuntimeUpdatingDisabled",
    retryable: false,
    says: ["--enable-lora"],
  },
  {
    status: 400,
    text: "The lora adapter 'x' conflicts with a served base model.",
    reason: "NameConflict",
    retryable: false,
    says: ["another name"],
  },
  {
    status: 400,
    text: "The lora adapter 'x' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.",
    reason: "NameConflict",
    retryable: true,
    says: ["unload"],
  },
  {
    status: 500,
    text: worker("LoRA rank 16 is greater than max_lora_rank 8."),
    reason: "EngineRefused",
    retryable: false,
    says: ["LoRA rank 16 is greater than max_lora_rank 8", "--max-lora-rank 16"],
  },
  {
    status: 500,
    text: worker("LoRA rank 12 is greater than max_lora_rank 8."),
    reason: "EngineRefused",
    retryable: false,
    says: ["--max-lora-rank 16"],
  },
  {
    status: 500,
    text: worker("The size of tensor a (64) must match the size of tensor b (128) at non-singleton dimension 1"),
    reason: "EngineRefused",
    retryable: false,
    says: ["base model"],
  },
  {
    status: 500,
    text: worker("While loading /x, expected target modules in {'v_proj', 'q_proj'} but received ['lm_head']. Please verify that"),
    reason: "EngineRefused",
    retryable: false,
    says: ["['lm_head']", "{'v_proj', 'q_proj'}"],
  },
  {
    status: 500,
    text: worker("Error while deserializing header: incomplete metadata, file not fully covered"),
    reason: "ArtifactInvalid",
    retryable: false,
    says: ["upload them again"],
  },
  {
    status: 404,
    text: "Loading lora x failed: No adapter found for /store/x",
    reason: "EngineRefused",
    retryable: false,
    says: ["/store/x", "mount"],
  },
  {
    // Of a path that only the engine reads.
    status: 404,
    text: "Loading lora x failed: No adapter found for /models/x",
    path: "/models/x",
    filesSeen: false,
    reason: "ArtifactNotFound",
    retryable: false,
    says: ["/models/x", "artifactURL", "mounted"],
  },
  {
    // For an adapter that the engine fetches by itself; why it cannot, it does not say.
    status: 404,
    text: "Loading lora x failed: No adapter found for acme/x",
    path: "acme/x",
    reason: "ArtifactNotFound",
    retryable: true,
    says: ["acme/x", "artifactURL", "HF_ENDPOINT"],
  },
  {
    status: 500,
    text: "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    reason: "EngineUnavailable",
    retryable: true,
    says: ["restarted"],
  },
  { status: 500, text: worker("CUDA out of memory. Tried to allocate"), reason: "EngineRefused", retryable: true, says: ["memory"] },
  { status: 503, text: "starting", reason: "EngineUnavailable", retryable: true, says: ["starting"] },
  { status: 500, text: "Internal Server Error", reason: "EngineRefused", retryable: false, says: ["HTTP 500: Internal Server Error;"] },
  { status: 504, text: "upstream request timeout", reason: "EngineUnavailable", retryable: true, says: ["HTTP 504", "tried again"] },
  { status: 418, text: "<html>", reason: "EngineRefused", retryable: false, says: ["HTTP 418"] },
  { status: 500, text: worker("something new"), reason: "EngineRefused", retryable: false, says: ["HTTP 500: something new;"] },
])("explains HTTP $status $text", ({ status, text, path = "/store/x", filesSeen = true, reason, retryable, says }) => {
  const error = explainRefusal({ status, text, path, filesSeen });
  expect(error).toMatchObject({ reason, retryable });
  for (const part of says) expect(error.message).toContain(part);
});
