import { expect, test } from "vitest";
import { begin, canaryPods, dueMs, follow, type Health, isJudged, type Pace, type Share, type Step, stepsOf, unhealthy } from "./canary.ts";

const MINUTE = 60_000;
const STEPS: readonly Step[] = [
  { weight: 5, durationMs: MINUTE },
  { weight: 25, durationMs: undefined },
  { weight: 50, durationMs: 0 },
  { weight: 100, durationMs: MINUTE },
];
const share = (serving: number, pods = 8, everywhere = false, more: Partial<Share> = {}): Share => ({
  pods,
  serving,
  told: serving,
  old: pods - serving,
  known: true,
  everywhere,
  ...more,
});
const at = (nowMs: number, more: Partial<Pace> = {}): Pace => ({ paused: false, promote: false, judged: undefined, nowMs, ...more });
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
  {
    name: "a canary that is away holds the step, whose time begins anew",
    last: begun(1, 5),
    of: share(0),
    now: at(MINUTE),
    want: { step: 1, weight: 5, sinceMs: undefined },
  },
  {
    name: "with its weight, until enough pods serve",
    last: { step: 3, weight: 50, sinceMs: undefined },
    of: share(2),
    now: at(MINUTE),
    want: { step: 3, weight: 50, sinceMs: undefined },
  },
  {
    name: "of pods that have not said what they have nothing is concluded",
    last: begun(1, 5),
    of: share(0, 8, false, { known: false }),
    now: at(MINUTE),
    want: begun(1, 5),
  },
  {
    name: "one pod alone is no step",
    last: begun(1, 5),
    of: share(1, 1, true),
    now: at(MINUTE),
    want: { step: 1, weight: 5, sinceMs: undefined },
  },
  {
    name: "nor are several where none has the old content any more",
    last: begun(3, 50),
    of: share(2, 2, true),
    now: at(MINUTE),
    want: { step: 3, weight: 50, sinceMs: undefined },
  },
  {
    name: "no step is left by the clock before it was judged",
    last: begun(1, 5),
    of: share(2),
    now: at(MINUTE, { judged: false }),
    want: begun(1, 5),
  },
  {
    name: "but by a promotion",
    last: begun(1, 5),
    of: share(2),
    now: at(MINUTE, { judged: false, promote: true }),
    want: begun(2, 25, MINUTE),
  },
  {
    name: "one that was judged is, and each after it is judged by itself",
    last: begun(2, 25),
    of: share(4),
    now: at(MINUTE, { judged: true, promote: true }),
    want: begun(3, 50, MINUTE),
  },
  {
    name: "everybody has it",
    last: { step: 4, weight: 100, sinceMs: undefined },
    of: share(8, 8, true),
    now: at(5),
    want: begun(4, 100, 5),
  },
  {
    name: "where steps were taken out of the spec it goes on with the first one of no less weight",
    last: begun(9, 50),
    of: share(2),
    now: at(1),
    want: { step: 3, weight: 50, sinceMs: undefined },
  },
  {
    name: "also where its number has another weight now",
    last: begun(1, 20),
    of: share(2),
    now: at(1),
    want: begun(2, 25, 1),
  },
])("$name", ({ last, of, now, want }) => {
  const { canary, done } = follow(STEPS, last, of, now);
  expect([canary, done]).toEqual([want, false]);
});

test("an edit of the steps alone never gives the new content to all pods", () => {
  const [five = STEPS[0]] = STEPS;
  const short = [five, { weight: 100, durationMs: 0 }] as readonly Step[];
  expect(follow(short, begun(2, 50), share(4), at(1)).canary).toEqual({ step: 1, weight: 5, sinceMs: 1 });
  expect(follow(short, begun(2, 50), share(4), at(1, { promote: true })).canary.weight).toBe(100);
  // Where all pods get it already, that goes on.
  expect(follow(short, begun(4, 100), share(4), at(1)).canary).toEqual({ step: 2, weight: 100, sinceMs: undefined });
});

test("a promotion says whether it led on", () => {
  const promote = { promote: true };
  expect(follow(STEPS, begun(1, 5), share(1), at(1, promote)).promoted).toBe(true);
  expect(follow(STEPS, begun(1, 5), share(1, 1), at(1, promote)).promoted).toBe(false);
  expect(follow(STEPS, begun(4, 100), share(7), at(1, promote)).promoted).toBe(false);
  expect(follow(STEPS, begun(4, 100), share(8, 8, true), at(1, promote))).toMatchObject({ promoted: true, done: true });
  expect(follow(STEPS, begun(1, 5), share(1), at(MINUTE)).promoted).toBe(false);
});

test("is done once the last step is over, by the clock or by a promotion", () => {
  const all = share(8, 8, true);
  expect(follow(STEPS, begun(4, 100), all, at(MINUTE)).done).toBe(true);
  expect(follow(STEPS, begun(4, 100), all, at(1, { promote: true })).done).toBe(true);
  expect(follow(STEPS, begun(4, 100), share(7, 8), at(MINUTE, { promote: true })).done).toBe(false);
  expect(follow(STEPS, begun(4, 100), all, at(MINUTE, { paused: true })).done).toBe(false);
});

test("begins with the first step that has as many pods as have the content already", () => {
  expect([0, 1, 2, 3, 5].map((told) => begin(STEPS, { ...share(told), told }).step)).toEqual([1, 1, 2, 3, 3]);
  expect(begin([{ weight: 100, durationMs: 0 }], share(0)).step).toBe(1);
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

/** What was counted, with how many of a hundred began within 0.5 s and within 2.5 s. */
const health = (responses: number, errors: number, half = 100, all = 100, timed = responses): Health => ({
  responses,
  errors,
  timed,
  within: new Map([
    [0.5, (timed * half) / 100],
    [2.5, (timed * all) / 100],
    [Number.POSITIVE_INFINITY, timed],
  ]),
  recent: undefined,
});
/** Some clients left after two seconds, others after a tenth of one. */
const leaving = (counted: Health, late: number, early = 0): Health => ({
  ...counted,
  left: new Map([
    [0.5, early],
    [2.5, early + late],
    [Number.POSITIVE_INFINITY, early + late],
  ]),
});
const recent = (counted: Health) => ({ ...health(1_000, 0), recent: { counted, minutes: 5 } });

test.each([
  { name: "no thresholds", on: undefined, of: health(100, 100), says: undefined },
  { name: "nothing counted", on: { errorPercent: 1 }, of: undefined, says: undefined },
  { name: "too few to judge", on: { errorPercent: 1 }, of: health(19, 19), says: undefined },
  { name: "as many as may be", on: { errorPercent: 20 }, of: health(20, 4), says: undefined },
  { name: "more", on: { errorPercent: 20 }, of: health(20, 5), says: /^5 of 20 .* 25.0 %/ },
  { name: "as slow as may be", on: { latencyP95: "500ms" }, of: health(20, 0, 95), says: undefined },
  { name: "slower", on: { latencyP95: "500ms" }, of: health(100, 0, 94), says: /^94 of 100 .* within 500 ms, .* is 500ms/ },
  { name: "within the next bound, so perhaps fast enough", on: { latencyP95: "2s" }, of: health(100, 0, 0), says: undefined },
  { name: "beyond the next bound", on: { latencyP95: "2s" }, of: health(100, 0, 0, 90), says: /^90 of 100 .* within 2500 ms, .* is 2s/ },
  { name: "a threshold beyond all bounds", on: { latencyP95: "600s" }, of: health(100, 0, 0, 0), says: undefined },
  { name: "waits of requests that nobody answered", on: { latencyP95: "2s" }, of: health(0, 0, 0, 0, 20), says: /^0 of 20/ },
  {
    name: "clients that left after a longer wait",
    on: { latencyP95: "500ms" },
    of: leaving(health(95, 0), 6),
    says: /^95 of 101 .* within 500/,
  },
  { name: "only these", on: { latencyP95: "500ms" }, of: leaving({ ...health(0, 0, 0, 0, 0), within: new Map() }, 20), says: /^0 of 20/ },
  { name: "as few of them as may be", on: { latencyP95: "500ms" }, of: leaving(health(95, 0), 5), says: undefined },
  {
    name: "clients that left early, beside slow answers",
    on: { latencyP95: "500ms" },
    of: leaving(health(20, 0, 0), 0, 400),
    says: /^0 of 20/,
  },
  { name: "not measured", on: { latencyP95: "1ms" }, of: health(20, 0, 100, 100, 0), says: undefined },
  { name: "a bound of its own", on: { errorPercent: 0, minRequests: 2 }, of: health(2, 1), says: /1 of 2/ },
  { name: "lately too many", on: { errorPercent: 5 }, of: recent(health(20, 2)), says: /^2 of 20 .* in the last 5 minutes, 10.0 %/ },
  { name: "lately too slow", on: { latencyP95: "500ms" }, of: recent(health(20, 0, 0)), says: /^0 of 20 .* in the last 5 minutes/ },
  { name: "lately too few", on: { errorPercent: 5 }, of: recent(health(19, 19)), says: undefined },
])("thresholds: $name", ({ on, of, says }) => {
  const why = unhealthy(on, of);
  if (says === undefined) expect(why).toBeUndefined();
  else expect(why).toMatch(says);
});

test.each([
  { name: "without thresholds nothing is", on: undefined, of: health(100, 0), want: undefined },
  { name: "before anything was counted", on: { errorPercent: 5 }, of: undefined, want: false },
  { name: "too few responses", on: { errorPercent: 5 }, of: health(19, 0), want: false },
  { name: "enough", on: { errorPercent: 5 }, of: health(20, 0), want: true },
  { name: "none of them measured", on: { latencyP95: "2s" }, of: health(20, 0, 100, 100, 0), want: false },
  { name: "only clients that left", on: { latencyP95: "2s" }, of: health(0, 0, 100, 100, 20), want: false },
] as const)("judged: $name", ({ on, of, want }) => {
  expect(isJudged(on, of)).toBe(want);
});
