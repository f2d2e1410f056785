import { expect, test } from "vitest";
import { electionStep, nextSpec, sight } from "./election.ts";

const held = (holderIdentity: string | undefined, leaseDurationSeconds = 15) => ({
  ...(holderIdentity === undefined ? {} : { holderIdentity }),
  leaseDurationSeconds,
  renewTime: "2020-01-01T00:00:00.000000Z",
  leaseTransitions: 3,
});

test.each([
  { name: "no lease: creates it", given: undefined, now: 0, want: "create" },
  { name: "mine: renews, however old it is", given: { spec: held("me"), seenAtMs: 0 }, now: 1e9, want: "renew" },
  { name: "another's, just seen: waits, whatever its clock says", given: { spec: held("you"), seenAtMs: 100 }, now: 100, want: "wait" },
  { name: "another's, unchanged for a moment less than its time", given: { spec: held("you"), seenAtMs: 100 }, now: 15_099, want: "wait" },
  { name: "another's, unchanged for its time", given: { spec: held("you"), seenAtMs: 100 }, now: 15_100, want: "acquire" },
  { name: "another's with a longer time of its own", given: { spec: held("you", 60), seenAtMs: 0 }, now: 15_000, want: "wait" },
  { name: "given back", given: { spec: held(""), seenAtMs: 100 }, now: 100, want: "acquire" },
  { name: "never held", given: { spec: held(undefined), seenAtMs: 100 }, now: 100, want: "acquire" },
] as const)("$name", ({ given, now, want }) => {
  expect(electionStep(given, "me", 15_000, now)).toBe(want);
});

test("a lease that did not change keeps the time of its first sight; a renewal is a new sight", () => {
  const first = sight(undefined, held("you"), 100);
  expect(sight(first, held("you"), 5_000).seenAtMs).toBe(100);
  expect(sight(first, { ...held("you"), renewTime: "2020-01-01T00:00:02.000000Z" }, 5_000).seenAtMs).toBe(5_000);
});

const NOW = new Date("2026-11-23T10:00:00.123Z");
const TIME = "2026-11-23T10:00:00.123000Z";

test.each([
  {
    step: "create",
    old: undefined,
    want: { holderIdentity: "me", acquireTime: TIME, renewTime: TIME, leaseTransitions: 0, leaseDurationSeconds: 15 },
  },
  { step: "acquire", old: held("you"), want: { holderIdentity: "me", acquireTime: TIME, renewTime: TIME, leaseTransitions: 4 } },
  {
    step: "renew",
    old: { ...held("me"), acquireTime: "x" },
    want: { holderIdentity: "me", acquireTime: "x", renewTime: TIME, leaseTransitions: 3 },
  },
  { step: "release", old: held("me"), want: { holderIdentity: "", leaseDurationSeconds: 1, leaseTransitions: 3 } },
] as const)("$step writes what the next one reads", ({ step, old, want }) => {
  expect(nextSpec(step, old, "me", 15_000, NOW)).toMatchObject(want);
});
