import { expect, test } from "vitest";
import { begin, canaryPods, dueMs, follow, type Share, type Step, stepsOf, unhealthy } from "./canary.ts";

const MINUTE = 60_000;
const STEPS: readonly Step[] = [
  { weight: 5, durationMs: MINUTE },
  { weight: 25, durationMs: undefined },
  { weight: 50, durationMs: 0 },
  { weight: 100, durationMs: MINUTE },
];
const share = (serving: number, pods = 8, everywhere = false): Share => ({ pods, serving, told: serving, everywhere });
const at = (nowMs: number, more: { paused?: boolean; promote?: boolean } = {}) => ({ paused: false, promote: false, nowMs, ...more });
const FIRST = { step: 1, weight: 0, sinceMs: undefined };
const begun = (step: number, weight: number, sinceMs = 0) => ({ step, weight, sinceMs });

test.each([
  { weight: 5, pods: 2, want: 1 },
  { weight: 5, pods: 20, want: 1 },
  { weight: 5, pods: 21, want: 2 },
  { weight: 25, pods: 4, want: 1 },
  { weight: 34, pods: 3, want: 2 },
  { weight: 99, pods: 3, want: 2 },
  { weight: 99, pods: 2, want: 1 },
  { weight: 100, pods: 3, want: 3 },
  { weight: 50, pods: 1, want: 0 },
])("$weight % of $pods pods are $want", ({ weight, pods, want }) => {
  expect(canaryPods(weight, pods)).toBe(want);
});

test.each([
  { name: "no request goes there before the pods serve", last: FIRST, of: share(0), now: at(9), want: FIRST },
  { name: "the step begins when they do", last: FIRST, of: share(1), now: at(9), want: begun(1, 5, 9) },
  { name: "it lasts its duration", last: begun(1, 5), of: share(1), now: at(MINUTE - 1), want: begun(1, 5) },
  {
    name: "then more pods get it, with the weight of before",
    last: begun(1, 5),
    of: share(1),
    now: at(MINUTE),
    want: { step: 2, weight: 5, sinceMs: undefined },
  },
  { name: "enough pods have it already", last: begun(1, 5), of: share(2), now: at(MINUTE), want: begun(2, 25, MINUTE) },
  { name: "a pause holds it", last: begun(1, 5), of: share(2), now: at(MINUTE, { paused: true }), want: begun(1, 5) },
  {
    name: "also where somebody promotes it",
    last: begun(1, 5),
    of: share(2),
    now: at(1, { paused: true, promote: true }),
    want: begun(1, 5),
  },
  { name: "somebody promotes it", last: begun(1, 5), of: share(2), now: at(1, { promote: true }), want: begun(2, 25, 1) },
  { name: "no clock ends a step without duration", last: begun(2, 25), of: share(4), now: at(99 * MINUTE), want: begun(2, 25) },
  {
    name: "one promotion is one step, and a step without length is over at once",
    last: begun(2, 25),
    of: share(4),
    now: at(1, { promote: true }),
    want: { step: 4, weight: 100, sinceMs: undefined },
  },
  { name: "a canary that is away holds the step", last: begun(1, 5), of: share(0), now: at(MINUTE), want: begun(1, 5) },
  { name: "one pod alone is no step", last: begun(1, 5), of: share(1, 1), now: at(MINUTE), want: begun(1, 5) },
  {
    name: "everybody has it",
    last: { step: 4, weight: 100, sinceMs: undefined },
    of: share(8, 8, true),
    now: at(5),
    want: begun(4, 100, 5),
  },
  {
    name: "steps that were taken out of the spec",
    last: begun(9, 50),
    of: share(2),
    now: at(1),
    want: { step: 4, weight: 100, sinceMs: undefined },
  },
])("$name", ({ last, of, now, want }) => {
  expect(follow(STEPS, last, of, now)).toEqual({ canary: want, done: false });
});

test("is done once the last step is over, by the clock or by a promotion", () => {
  const all = share(8, 8, true);
  expect(follow(STEPS, begun(4, 100), all, at(MINUTE)).done).toBe(true);
  expect(follow(STEPS, begun(4, 100), all, at(1, { promote: true })).done).toBe(true);
  expect(follow(STEPS, begun(4, 100), share(7, 8), at(MINUTE, { promote: true })).done).toBe(false);
  expect(follow(STEPS, begun(4, 100), all, at(MINUTE, { paused: true })).done).toBe(false);
});

test("begins with the first step that has as many pods as have the content already", () => {
  expect([0, 1, 2, 3, 5].map((told) => begin(STEPS, { ...share(told), told }).step)).toEqual([1, 1, 2, 3, 4]);
});

test("its steps end with all pods, and the clock is asked for when one ends", () => {
  const steps = stepsOf({ strategy: "Canary", canary: { steps: [{ weight: 5, duration: "2h" }, { weight: 30 }] } });
  expect(steps).toEqual([
    { weight: 5, durationMs: 7_200_000 },
    { weight: 30, durationMs: undefined },
    { weight: 100, durationMs: 0 },
  ]);
  expect([stepsOf(undefined), stepsOf({ strategy: "RollingUpdate" })]).toEqual([undefined, undefined]);
  expect([dueMs(steps ?? [], begun(1, 5, 7)), dueMs(steps ?? [], begun(2, 30)), dueMs(steps ?? [], FIRST)]).toEqual([
    7_200_007,
    undefined,
    undefined,
  ]);
});

test.each([
  { name: "no thresholds", on: undefined, health: { responses: 100, errors: 100, latencyP95Ms: 9_000 }, says: undefined },
  { name: "nothing counted", on: { errorPercent: 1 }, health: undefined, says: undefined },
  { name: "too few to judge", on: { errorPercent: 1 }, health: { responses: 19, errors: 19, latencyP95Ms: 1 }, says: undefined },
  { name: "as many as may be", on: { errorPercent: 20 }, health: { responses: 20, errors: 4, latencyP95Ms: 1 }, says: undefined },
  { name: "more", on: { errorPercent: 20 }, health: { responses: 20, errors: 5, latencyP95Ms: 1 }, says: /^5 of 20 .* 25.0 %/ },
  { name: "as slow as may be", on: { latencyP95: "2s" }, health: { responses: 20, errors: 0, latencyP95Ms: 2_000 }, says: undefined },
  {
    name: "slower",
    on: { latencyP95: "500ms" },
    health: { responses: 20, errors: 0, latencyP95Ms: 501 },
    says: /501 ms, more than the 500ms/,
  },
  { name: "not measured", on: { latencyP95: "1ms" }, health: { responses: 20, errors: 0, latencyP95Ms: undefined }, says: undefined },
  {
    name: "a bound of its own",
    on: { errorPercent: 0, minRequests: 2 },
    health: { responses: 2, errors: 1, latencyP95Ms: 1 },
    says: /1 of 2/,
  },
])("thresholds: $name", ({ on, health, says }) => {
  const why = unhealthy(on, health);
  if (says === undefined) expect(why).toBeUndefined();
  else expect(why).toMatch(says);
});
