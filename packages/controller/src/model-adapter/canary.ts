import type { RolloutSpec } from "@aibrix/api";
import { DEFAULT_MIN_REQUESTS } from "@aibrix/api";

/*
 * The steps of the strategy Canary. Pure: it goes on from the step that the status tells, and from when its pods served the new content.
 */

export interface Step {
  /** Of a hundred requests; 100: every pod gets the new content. */
  readonly weight: number;
  /** `undefined`: until somebody promotes it. */
  readonly durationMs: number | undefined;
}

/** Where a canary is. */
export interface Canary {
  /** From 1. */
  readonly step: number;
  /** What the gateway sends to the new content now, of a hundred requests; 100: it takes the old one's place. */
  readonly weight: number;
  /** When the step's pods served the new content, in milliseconds since the epoch. */
  readonly sinceMs: number | undefined;
}

/** Who has which content. */
export interface Share {
  /** Pods that serve, or are about to. */
  readonly pods: number;
  /** Of these, the ones that serve the new content. */
  readonly serving: number;
  /** Of these, the ones that were told to. */
  readonly told: number;
  /** Of these, the ones that serve something else. */
  readonly old: number;
  /** Every pod that clients may be sent to has said what it serves. */
  readonly known: boolean;
  /** Every pod that clients may be sent to serves the new content. */
  readonly everywhere: boolean;
}

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** @returns in milliseconds */
export function intervalMs(text: string | undefined): number | undefined {
  const unit = text?.at(-1);
  if (text === undefined || (unit !== "s" && unit !== "m" && unit !== "h")) return undefined;
  return Number(text.slice(0, -1)) * UNITS[unit];
}

/** The steps that a spec declares, the last one with weight 100; `undefined` where there is to be no canary. */
export function stepsOf(rollout: RolloutSpec | undefined): readonly Step[] | undefined {
  if (rollout?.strategy !== "Canary" || rollout.canary === undefined) return undefined;
  const declared = rollout.canary.steps.map(({ weight, duration }): Step => ({ weight, durationMs: intervalMs(duration) }));
  const full = declared.findIndex((s) => s.weight === 100);
  return full === -1 ? [...declared, { weight: 100, durationMs: 0 }] : declared.slice(0, full + 1);
}

/** How many of these pods get the new content at a step: as few as their share of the requests wants, and one stays with the old one. */
export function canaryPods(weight: number, pods: number): number {
  if (weight === 100) return pods;
  return Math.min(Math.max(1, Math.ceil((weight * pods) / 100)), Math.max(0, pods - 1));
}

/** How many steps come before all pods get the new content. */
function partial(steps: readonly Step[]): number {
  return steps.filter((s) => s.weight < 100).length;
}

/** Where a canary begins: with the first step that has as many pods as have the new content already, and never with all pods. */
export function begin(steps: readonly Step[], { pods, told }: Share): Canary {
  const first = steps.slice(0, partial(steps)).findIndex((s) => canaryPods(s.weight, pods) >= told);
  return { step: first === -1 ? Math.max(1, partial(steps)) : first + 1, weight: 0, sinceMs: undefined };
}

/**
 * The step that the status tells, from 1. Where the steps were edited since it is the first one with no less weight than the present one: an edit
 * alone never gives the new content to all pods.
 */
function placeIn(steps: readonly Step[], { step, weight, sinceMs }: Canary): { readonly number: number; readonly edited: boolean } {
  const told = steps[step - 1];
  // Until a step's pods serve, it has a weight of before.
  const goesOn = told?.weight === weight || (sinceMs === undefined && told !== undefined && told.weight < 100 && weight < told.weight);
  if (goesOn) return { number: step, edited: false };
  if (weight === 100) return { number: steps.length, edited: true };
  const first = steps.slice(0, partial(steps)).findIndex((s) => s.weight >= weight);
  return { number: first === -1 ? Math.max(1, partial(steps)) : first + 1, edited: true };
}

export interface Pace {
  /** Nothing new begins. */
  readonly paused: boolean;
  /** Somebody asked for the next step. */
  readonly promote: boolean;
  /** Whether there were responses enough to judge the step that the status tells; `undefined` where nothing is judged. */
  readonly judged: boolean | undefined;
  readonly nowMs: number;
}

export interface Followed {
  readonly canary: Canary;
  /** Its last step is over. */
  readonly done: boolean;
  /** It went on because somebody asked for it. */
  readonly promoted: boolean;
}

/** Where a canary is by now. */
export function follow(steps: readonly Step[], last: Canary, share: Share, pace: Pace): Followed {
  const { paused, nowMs } = pace;
  let { promote, judged } = pace;
  const from = placeIn(steps, last);
  let { number } = from;
  let since = from.edited ? undefined : last.sinceMs;
  let { weight } = last;
  for (;;) {
    const step = steps[number - 1];
    if (step === undefined) return { canary: last, done: false, promoted: false };
    const isFull = step.weight === 100;
    // Beside pods with the old content, for where there are none left nothing is tried on a part of the requests.
    const isTried = share.pods > 1 && share.old > 0 && share.serving >= canaryPods(step.weight, share.pods);
    const complete = isFull ? share.everywhere : isTried;
    if (complete) since ??= nowMs;
    // Its time is one without a break; what pods have that have not answered yet nobody knows.
    else if (share.known) since = undefined;
    const isOver = complete && since !== undefined && step.durationMs !== undefined && nowMs >= since + step.durationMs;
    const byClock = isOver && (isFull || judged !== false);
    const byWord = promote && (isFull ? complete : share.pods > 1);
    const goesOn = (byClock || byWord) && !paused;
    weight = isFull ? 100 : since === undefined ? Math.min(weight, step.weight) : step.weight;
    if (!goesOn || number === steps.length) {
      const done = isFull && complete && goesOn;
      return { canary: { step: number, weight, sinceMs: since }, done, promoted: pace.promote && (done || !promote) };
    }
    promote = false;
    judged = judged === undefined ? undefined : false;
    number++;
    since = undefined;
  }
}

/** When time alone makes it go on, in milliseconds since the epoch. */
export function dueMs(steps: readonly Step[], { step, sinceMs }: Canary): number | undefined {
  const durationMs = steps[step - 1]?.durationMs;
  return sinceMs === undefined || durationMs === undefined ? undefined : sinceMs + durationMs;
}

/** What the gateways counted of the new content. */
export interface Counted {
  readonly responses: number;
  /** Of these, with status 500 and above. */
  readonly errors: number;
  /** Requests whose wait for a response was measured. */
  readonly timed: number;
  /** Clients that left before a response began: by an upper bound in seconds, up to infinity, those that had waited no longer. */
  readonly left?: ReadonlyMap<number, number>;
  /** Of these, by an upper bound in seconds, those that waited no longer. */
  readonly within: ReadonlyMap<number, number>;
}

/** The same since a step began. */
export interface Health extends Counted {
  /** Of the last minutes alone, once the step has lasted longer: what was counted before hides nothing of what goes wrong now. */
  readonly recent: { readonly counted: Counted; readonly minutes: number } | undefined;
}

type AbortOn = NonNullable<NonNullable<RolloutSpec["canary"]>["abortOn"]>;

/** Whether there were responses enough to compare with every threshold; `undefined` without thresholds. */
export function isJudged(thresholds: AbortOn | undefined, health: Health | undefined): boolean | undefined {
  if (thresholds === undefined) return undefined;
  const { latencyP95, minRequests = DEFAULT_MIN_REQUESTS } = thresholds;
  if (health === undefined || health.responses < minRequests) return false;
  return latencyP95 === undefined || waits(health, latencyP95).timed >= minRequests;
}

/** Why the responses end a canary, in words; `undefined` where they do not. */
export function unhealthy(thresholds: AbortOn | undefined, health: Health | undefined): string | undefined {
  if (thresholds === undefined || health === undefined) return undefined;
  const { recent } = health;
  return (
    beyond(thresholds, health, "") ??
    (recent === undefined ? undefined : beyond(thresholds, recent.counted, ` in the last ${recent.minutes} minutes`))
  );
}

function beyond(thresholds: AbortOn, counted: Counted, when: string): string | undefined {
  const { errorPercent, latencyP95, minRequests = DEFAULT_MIN_REQUESTS } = thresholds;
  const { responses, errors } = counted;
  const percent = (errors / responses) * 100;
  if (errorPercent !== undefined && responses >= minRequests && percent > errorPercent)
    return `${errors} of ${responses} responses of the new content were errors${when}, ${percent.toFixed(1)} % and more than the ${errorPercent} % of spec.rollout.canary.abortOn.errorPercent`;
  if (latencyP95 === undefined) return undefined;
  const { bound, timed, fast } = waits(counted, latencyP95);
  if (bound === undefined || timed < minRequests || fast * 100 >= timed * 95) return undefined;
  return `${fast} of ${timed} requests to the new content had a response begin within ${bound * 1_000} ms${when}, fewer than 95 of a hundred: spec.rollout.canary.abortOn.latencyP95 is ${latencyP95}`;
}

interface Waits {
  /** In seconds; `undefined` where there is none. */
  readonly bound: number | undefined;
  readonly timed: number;
  readonly fast: number;
}

/**
 * How many requests had a response begin in time, of those of which it is known. Between two bounds nothing is: what waited no longer than the next
 * one may have been fast enough. A client that left sooner says nothing, and one that left later had waited too long.
 */
function waits({ timed, within, left = new Map() }: Counted, latencyP95: string): Waits {
  const bounds = [...within.keys(), ...left.keys()].sort((a, b) => a - b);
  const bound = bounds.find((sec) => sec >= latencyMs(latencyP95) / 1_000);
  if (bound === undefined) return { bound, timed, fast: timed };
  const inVain = (left.get(Number.POSITIVE_INFINITY) ?? 0) - (left.get(bound) ?? 0);
  return { bound, timed: timed + inVain, fast: within.get(bound) ?? timed };
}

function latencyMs(text: string): number {
  return text.endsWith("ms") ? Number(text.slice(0, -2)) : Number(text.slice(0, -1)) * 1_000;
}
