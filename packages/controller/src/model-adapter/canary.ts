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

/** Where a canary begins: with the first step that has as many pods as have the new content already. */
export function begin(steps: readonly Step[], { pods, told }: Share): Canary {
  const first = steps.findIndex((s) => canaryPods(s.weight, pods) >= told);
  return { step: (first === -1 ? steps.length - 1 : first) + 1, weight: 0, sinceMs: undefined };
}

export interface Pace {
  /** Nothing new begins. */
  readonly paused: boolean;
  /** Somebody asked for the next step. */
  readonly promote: boolean;
  readonly nowMs: number;
}

/** Where a canary is by now; `done`: its last step is over. */
export function follow(
  steps: readonly Step[],
  last: Canary,
  share: Share,
  pace: Pace,
): { readonly canary: Canary; readonly done: boolean } {
  const { paused, nowMs } = pace;
  let { promote } = pace;
  let number = Math.min(last.step, steps.length);
  let since = number === last.step ? last.sinceMs : undefined;
  for (;;) {
    const step = steps[number - 1];
    if (step === undefined) break;
    const isFull = step.weight === 100;
    const complete = isFull ? share.everywhere : share.pods > 1 && share.serving >= canaryPods(step.weight, share.pods);
    if (complete) since ??= nowMs;
    const elapsed = complete && since !== undefined && step.durationMs !== undefined && nowMs >= since + step.durationMs;
    const goesOn = (elapsed || (promote && (!isFull || complete))) && !paused && (isFull || share.pods > 1);
    if (!goesOn || number === steps.length) {
      const before = steps[number - 2]?.weight ?? 0;
      const weight = isFull ? 100 : since === undefined ? before : step.weight;
      return { canary: { step: number, weight, sinceMs: since }, done: isFull && complete && goesOn };
    }
    promote = false;
    number++;
    since = undefined;
  }
  return { canary: last, done: false };
}

/** When time alone makes it go on, in milliseconds since the epoch. */
export function dueMs(steps: readonly Step[], { step, sinceMs }: Canary): number | undefined {
  const durationMs = steps[step - 1]?.durationMs;
  return sinceMs === undefined || durationMs === undefined ? undefined : sinceMs + durationMs;
}

/** What the gateways counted of the new content since a step began. */
export interface Health {
  readonly responses: number;
  /** Status 500 and above. */
  readonly errors: number;
  /** For 95 of a hundred, in milliseconds; `undefined` where none was measured. */
  readonly latencyP95Ms: number | undefined;
}

type AbortOn = NonNullable<NonNullable<RolloutSpec["canary"]>["abortOn"]>;

/** Why the responses end a canary, in words; `undefined` where they do not. */
export function unhealthy(thresholds: AbortOn | undefined, health: Health | undefined): string | undefined {
  if (thresholds === undefined || health === undefined) return undefined;
  const { errorPercent, latencyP95, minRequests = DEFAULT_MIN_REQUESTS } = thresholds;
  const { responses, errors, latencyP95Ms } = health;
  if (responses < minRequests) return undefined;
  const percent = (errors / responses) * 100;
  if (errorPercent !== undefined && percent > errorPercent)
    return `${errors} of ${responses} responses of the new content were errors, ${percent.toFixed(1)} % and more than the ${errorPercent} % of spec.rollout.canary.abortOn.errorPercent`;
  if (latencyP95 !== undefined && latencyP95Ms !== undefined && latencyP95Ms > latencyMs(latencyP95))
    return `95 of a hundred of ${responses} responses of the new content began within ${Math.round(latencyP95Ms)} ms, more than the ${latencyP95} of spec.rollout.canary.abortOn.latencyP95`;
  return undefined;
}

function latencyMs(text: string): number {
  return text.endsWith("ms") ? Number(text.slice(0, -2)) : Number(text.slice(0, -1)) * 1_000;
}
