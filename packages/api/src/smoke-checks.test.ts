import { expect, test } from "vitest";
import { isSmokeName, smokeChecks, smokeName } from "./smoke-checks.ts";
import { validateModelAdapter } from "./validate.ts";

test("every default is told", () => {
  expect(smokeChecks(undefined)).toEqual([]);
  expect(smokeChecks([{ prompt: "p" }])).toEqual([
    { prompt: "p", max_tokens: 16, expect: { status: 200, not_empty: true, max_latency_ms: 30_000 } },
  ]);
  const messages = [{ role: "user" as const, content: "c" }];
  const given = { status: 400, notEmpty: false, contains: "c", matches: "m", maxLatency: "2s" };
  expect(smokeChecks([{ name: "n", messages, maxTokens: 3, expect: given }])).toEqual([
    { name: "n", messages, max_tokens: 3, expect: { status: 400, not_empty: false, contains: "c", matches: "m", max_latency_ms: 2_000 } },
  ]);
  expect(smokeChecks([{ prompt: "p", expect: { maxLatency: "250ms" } }])[0]?.expect.max_latency_ms).toBe(250);
});

test("content is checked under a name that no adapter can have", () => {
  const name = smokeName("sql-lora", `sha256:${"ab".repeat(32)}`, 0.5);
  expect([name, isSmokeName(name)]).toEqual(["sql-lora@check-abababab-8000", true]);
  expect(isSmokeName(smokeName("x", "", 0))).toBe(true);
  for (const other of ["sql-lora", "x-check-abababab-8000", "x@check-ab"]) expect(isSmokeName(other)).toBe(false);
});

const adapter = (check: object) => ({
  apiVersion: "model.aibrix.ai/v1alpha1",
  kind: "ModelAdapter",
  metadata: { name: "x" },
  spec: { podSelector: { matchLabels: { a: "b" } }, artifactURL: "hf://a/b", rollout: { checks: [check] } },
});

test.each<{ name: string; check: object; field?: string }>([
  { name: "a prompt", check: { prompt: "p" } },
  { name: "messages", check: { messages: [{ role: "user", content: "c" }], expect: { maxLatency: "99s" } } },
  { name: "neither", check: { name: "n" }, field: "spec.rollout.checks[0]" },
  { name: "both", check: { prompt: "p", messages: [{ role: "user", content: "c" }] }, field: "spec.rollout.checks[0]" },
  { name: "a latency of minutes", check: { prompt: "p", expect: { maxLatency: "2m" } }, field: "spec.rollout.checks.0.expect.maxLatency" },
  { name: "a field that is none", check: { prompt: "p", expect: { contain: "x" } }, field: "spec.rollout.checks.0.expect.contain" },
])("of a check with $name", ({ check, field }) => {
  const { problems } = validateModelAdapter(adapter(check)) as { problems?: readonly { field: string }[] };
  expect(problems?.map((p) => p.field)).toEqual(field === undefined ? undefined : [field]);
});
