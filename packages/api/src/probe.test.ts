import { expect, test } from "vitest";
import { probeRequest, probeVerdict } from "./probe.ts";

test.each([
  { name: "an answer", status: 200, text: "", want: "served" },
  { name: "no such route: a model that embeds, scores or transcribes", status: 404, text: "Not Found", want: "notNeeded" },
  { name: "the same before vLLM 0.11", status: 400, text: "The model does not support Completions API", want: "notNeeded" },
  {
    name: "the same, as a route without a handler says it",
    status: 501,
    text: "The model does not support Completions API",
    want: "notNeeded",
  },
  { name: "a name that the engine does not know", status: 404, text: "The model `a` does not exist.", want: "failed" },
  { name: "an engine that died of it", status: 500, text: "EngineCore encountered an issue.", want: "failed" },
  { name: "too much to do", status: 503, text: "busy", want: "failed" },
  { name: "a request that is refused for something else", status: 400, text: "prompt is too long", want: "failed" },
  { name: "another key", status: 401, text: "Unauthorized", want: "failed" },
])("$name: $want", ({ status, text, want }) => {
  const verdict = probeVerdict(status, text);
  expect(verdict.kind).toBe(want);
  if (verdict.kind === "failed") expect(verdict.message).toContain(`HTTP ${status}: ${text}`);
});

test("asks for one token, always the same", () => {
  expect(probeRequest("a")).toMatchObject({ model: "a", max_tokens: 1, temperature: 0 });
});
