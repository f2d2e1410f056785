import { expect, test } from "vitest";
import { type CacheState, planEviction } from "./plan-eviction.ts";

const entry = (id: string, usedMs: number, linked = false) => ({ id, bytes: 10, usedMs, linked });
const base: CacheState = {
  entries: [entry("new", 3), entry("old", 1), entry("used", 0, true), entry("middle", 2)],
  freeBytes: 1_000,
  maxBytes: undefined,
  minFreeBytes: 100,
  neededBytes: 0,
};

test.each<{ name: string; given: Partial<CacheState>; want: readonly string[] }>([
  { name: "nothing without a bound", given: {}, want: [] },
  { name: "nothing at the bound", given: { maxBytes: 40 }, want: [] },
  { name: "the least recently used above it", given: { maxBytes: 39 }, want: ["old"] },
  { name: "as many as it takes", given: { maxBytes: 25 }, want: ["old", "middle"] },
  { name: "for what is about to come", given: { maxBytes: 45, neededBytes: 10 }, want: ["old"] },
  { name: "never what a pod has links to, whatever the bound", given: { maxBytes: 0 }, want: ["old", "middle", "new"] },
  { name: "for the volume's free space", given: { freeBytes: 85 }, want: ["old", "middle"] },
  { name: "for free space after what is about to come", given: { freeBytes: 105, neededBytes: 10 }, want: ["old"] },
  { name: "for the tighter of two bounds", given: { maxBytes: 35, freeBytes: 75 }, want: ["old", "middle", "new"] },
])("evicts $name", ({ given, want }) => {
  expect(planEviction({ ...base, ...given }).map((e) => e.id)).toEqual(want);
});
