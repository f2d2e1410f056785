import { expect, test } from "vitest";
import { backoffMs } from "./backoff.ts";

test.each([
  [1, 1_000],
  [2, 2_000],
  [5, 16_000],
  [9, 256_000],
  [10, 300_000],
  [5_000, 300_000],
])("after %i failed tries about %i ms", (attempts, want) => {
  expect(backoffMs(attempts, 0.5)).toBe(want);
  expect(backoffMs(attempts, 0)).toBe(want * 0.8);
  expect(backoffMs(attempts, 0.999)).toBeGreaterThan(want * 1.19);
});
