import { expect, test } from "vitest";
import { AUDIO_LIMIT_BYTES, BODY_LIMIT_BYTES, targetOf } from "./paths.ts";

test.each([
  "/v1/completions",
  "/v1/chat/completions",
  "/v1/responses",
  "/v1/messages",
  "/v1/embeddings",
  "/v1/rerank",
  "/v1/score",
  "/v1/classify",
  "/tokenize",
  "/detokenize",
])("%s passes, its model in JSON", (path) => {
  expect(targetOf(path)).toEqual({ kind: "inference", path, body: "json", limitBytes: BODY_LIMIT_BYTES });
});

test.each(["/v1/audio/transcriptions", "/v1/audio/translations"])("%s passes, its model in a form", (path) => {
  expect(targetOf(path)).toEqual({ kind: "inference", path, body: "multipart", limitBytes: AUDIO_LIMIT_BYTES });
});

test.each([
  { path: "/v1/completions?x=/v1/models", want: { kind: "inference", path: "/v1/completions" } },
  { path: "/v1/models", want: { kind: "models" } },
  { path: "/v1/models/?a", want: { kind: "models" } },
  { path: "/v1/models/qwen", want: { kind: "model", id: "qwen" } },
  { path: "/v1/models/org%2Fname?a=b", want: { kind: "model", id: "org/name" } },
  { path: "/v1/models/org/name", want: { kind: "model", id: "org/name" } },
  { path: "/v1/models/%zz", want: { kind: "model", id: "%zz" } },
])("$path is known", ({ path, want }) => {
  expect(targetOf(path)).toMatchObject(want);
});

test.each([
  "/",
  "",
  "/v1",
  "/v1/completions/",
  "/v1//completions",
  "//v1/completions",
  "/V1/completions",
  "/v1/completions%3Fx",
  "/v1/completions;x",
  "/v1/completions/../../adapters",
  "/v1/load_lora_adapter",
  "/v1/unload_lora_adapter",
  "/v1/modelsx",
  "/invocations",
  "/adapters",
  "/metrics",
  "/health",
  "/docs",
])("%j does not pass", (path) => {
  expect(targetOf(path)).toBeUndefined();
});
