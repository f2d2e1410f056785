import type { Reason } from "@aibrix/api";
import { podState } from "./pod-state.ts";
import { refusedRank } from "./rank.ts";
import type { Observed, ObservedPod, Refusal } from "./types.ts";

/** Refusals that no edit of the adapter mends, and that say nothing about another pod. */
const OF_THE_POD: readonly Reason[] = ["RankTooHigh", "NameConflict", "NotOurs", "EngineRuntimeUpdatingDisabled", "EngineNotSupported"];

/** Why a pod refuses the adapter for good, where the reason is its own; `undefined` where it does not, or another would do the same. Pure. */
export function ownRefusal(o: Observed, p: ObservedPod): Refusal | undefined {
  const { final, reason, message } = podState(o, p);
  if (!final || reason === undefined || message === undefined) return undefined;
  return OF_THE_POD.includes(reason) || refusedRank(message) !== undefined ? { reason, message } : undefined;
}

/** Why a pod that has the adapter should give its replica to another one; `undefined` where it should not. Pure. */
export function whyExchanged(o: Observed, p: ObservedPod): string | undefined {
  const lostAtMs = exchangeAtMs(o, p);
  if (lostAtMs !== undefined && lostAtMs <= o.nowMs) return p.view.problem ?? "nothing is heard of it";
  return ownRefusal(o, p)?.message;
}

/** When a pod that is silent has been so for long enough, in milliseconds since the epoch. */
export function exchangeAtMs({ bounds }: Observed, { view }: ObservedPod): number | undefined {
  // One that wants another key answers, and waits for an edit like every other pod.
  if (view.knowledge !== "lost" || view.problemReason !== undefined || view.lostSinceMs === undefined) return undefined;
  return view.lostSinceMs + bounds.lostMs;
}

/** Whether a pod would hardly serve the adapter: nothing is known of it, or it has refused, or is going to. Pure. */
export function isDoubtful(o: Observed, p: ObservedPod): boolean {
  return p.view.knowledge === "lost" || p.refusal !== undefined || ownRefusal(o, p) !== undefined;
}
