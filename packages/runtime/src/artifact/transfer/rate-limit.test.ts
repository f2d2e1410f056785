import { expect, test } from "vitest";
import { RateLimit } from "./rate-limit.ts";

test("lets a second's bytes through at once, then makes each wait for its time, whoever asks", () => {
  let now = 0;
  const limit = new RateLimit(1_000, () => now);
  expect(limit.owe(1_000)).toBe(0);
  expect(limit.owe(500)).toBe(500);
  expect(limit.owe(500)).toBe(1_000);
  now = 1_000;
  expect(limit.owe(0)).toBe(0);
  now = 1_500;
  expect(limit.owe(500)).toBe(0);
});

test("a pause is not made up for", () => {
  let now = 0;
  const limit = new RateLimit(1_000, () => now);
  now = 3_600_000;
  expect(limit.owe(1_000)).toBe(0);
  expect(limit.owe(1_000)).toBe(1_000);
});

test("no limit, no wait", () => {
  expect(new RateLimit(Number.POSITIVE_INFINITY).owe(1e12)).toBe(0);
});
