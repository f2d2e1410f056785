import { DEFAULT_MIN_REQUESTS } from "@aibrix/api";
import {
  begin,
  type Canary,
  dueMs as canaryDueMs,
  type Followed,
  follow,
  type Health,
  isJudged,
  type Pace,
  type Share,
  type Step,
} from "../canary.ts";
import type { Served, Update } from "../contents.ts";
import type { Asks } from "./asks.ts";
import type { RolloutInput, Why } from "./input.ts";

/** Names the step of a canary of which the gateways send requests to the new content; `undefined` where there is none. */
export function stepName(update: Update | undefined): string | undefined {
  const { canary } = update ?? {};
  if (update?.state !== "Swapping" || canary === undefined || canary.weight === 0 || canary.weight === 100) return undefined;
  // Not by when it began: a canary that comes and goes is judged by all that it answered.
  return `${update.startMs} ${canary.step} ${canary.weight}`;
}

/** What was counted in an update's present step. */
export function healthOf(i: RolloutInput, update: Update | undefined): Health | undefined {
  const name = stepName(update);
  return name === undefined ? undefined : i.health?.(name);
}

/**
 * Nobody is sent any more to what was on trial. Where it was about to be everywhere that is so after an abort; if a pod could not load it, those that
 * could go back one after the other, in their places.
 */
export function withdrawn(canary: Canary | undefined, { reason }: Why): Canary | undefined {
  if (canary === undefined || (canary.weight === 100 && reason !== "UpdateAborted")) return undefined;
  return { ...canary, weight: 0 };
}

/** What an update that is paused waits for. */
export const PAUSED: Why = { reason: "UpdatePaused", message: "spec.rollout.paused is true: it goes on once that is false" };

/** What a canary waits for where there are not two pods to compare. */
export function loneliness(pods: number): Why {
  const message = `the strategy Canary needs two pods that serve the adapter, and there ${pods === 1 ? "is one" : "are none"}: it begins once there are two, or with the strategy RollingUpdate`;
  return { reason: "CanaryNeedsPods", message };
}

/** Where all pods that served the old content are lost. */
export function abandonment({ old, known }: Share, { url }: Served): Why | undefined {
  if (old > 0 || !known) return undefined;
  const message = `no pod serves ${url} any more, so that all requests go to the new content: the step goes on once a pod does`;
  return { reason: "CanaryNeedsPods", message };
}

/** Where a step's time is over, and too few responses came to judge it. */
export function unjudged(i: RolloutInput, steps: readonly Step[], canary: Canary, begun: Update | undefined): Why | undefined {
  const atMs = canaryDueMs(steps, canary);
  const { judged } = pace(i, { promote: false }, begun);
  if (atMs === undefined || i.nowMs < atMs || judged !== false) return undefined;
  const { minRequests = DEFAULT_MIN_REQUESTS } = i.adapter?.spec.rollout?.canary?.abortOn ?? {};
  const message = `its time is over, and fewer than ${minRequests} responses of the new content were counted (spec.rollout.canary.abortOn.minRequests): it goes on once there are as many, or by a promotion`;
  return { reason: "UpdateOnTrial", message };
}

/** What leads a canary on to its next step, or holds it. */
export function pace(i: RolloutInput, { promote }: Pick<Asks, "promote">, update: Update | undefined): Pace {
  const { paused, canary } = i.adapter?.spec.rollout ?? {};
  return { paused: paused === true, promote, judged: isJudged(canary?.abortOn, healthOf(i, update)), nowMs: i.nowMs };
}

/** Where a canary is by now; `undefined` where there is no pod with the old content that it could be tried beside. */
export function onTrial(steps: readonly Step[], last: Canary | undefined, share: Share, at: Pace): Followed | undefined {
  const from = last ?? (share.old > 0 && share.pods > 1 ? begin(steps, share) : undefined);
  return from === undefined ? undefined : follow(steps, from, share, at);
}
