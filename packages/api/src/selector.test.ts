import { expect, test } from "vitest";
import { matchesSelector } from "./selector.ts";

const LABELS = { app: "vllm", tier: "gpu" };

test.each([
  { name: "an equal label", selector: { matchLabels: { app: "vllm" } }, want: true },
  { name: "another value", selector: { matchLabels: { app: "tgi" } }, want: false },
  { name: "a missing label", selector: { matchLabels: { zone: "a" } }, want: false },
  { name: "In", selector: { matchExpressions: [{ key: "tier", operator: "In" as const, values: ["cpu", "gpu"] }] }, want: true },
  { name: "In, missing", selector: { matchExpressions: [{ key: "zone", operator: "In" as const, values: ["a"] }] }, want: false },
  { name: "NotIn", selector: { matchExpressions: [{ key: "tier", operator: "NotIn" as const, values: ["gpu"] }] }, want: false },
  { name: "NotIn, missing", selector: { matchExpressions: [{ key: "zone", operator: "NotIn" as const, values: ["a"] }] }, want: true },
  { name: "Exists", selector: { matchExpressions: [{ key: "tier", operator: "Exists" as const }] }, want: true },
  { name: "DoesNotExist", selector: { matchExpressions: [{ key: "tier", operator: "DoesNotExist" as const }] }, want: false },
  {
    name: "both kinds, one failing",
    selector: { matchLabels: { app: "vllm" }, matchExpressions: [{ key: "zone", operator: "Exists" as const }] },
    want: false,
  },
])("$name: $want", ({ selector, want }) => {
  expect(matchesSelector(selector, LABELS)).toBe(want);
});
