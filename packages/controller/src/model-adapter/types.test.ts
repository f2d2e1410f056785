import { expect, test } from "vitest";
import { BOUNDS, boundsOf, deletionDrainMs } from "./types.ts";

test.each([
  { graceMs: 30_000, deletionMs: 30_000, drainMs: 25_000 },
  { graceMs: 6_000, deletionMs: 6_000, drainMs: 3_000 },
  { graceMs: 3_000, deletionMs: 5_000, drainMs: 2_500 },
  { graceMs: 0, deletionMs: 5_000, drainMs: 0 },
])("a grace period of $graceMs ms holds a deletion up for $deletionMs ms at most, drain and unload together", (c) => {
  const bounds = boundsOf(c.graceMs);
  expect(bounds).toMatchObject({ deletionMs: c.deletionMs, drainMs: c.graceMs });
  expect(deletionDrainMs(bounds)).toBe(c.drainMs);
});

test("a deletion without a drain has none within its bound either", () => {
  expect(deletionDrainMs({ ...BOUNDS, drainMs: 0 })).toBe(0);
});
