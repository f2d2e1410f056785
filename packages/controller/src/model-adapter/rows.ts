import type { ModelAdapterStatus } from "@aibrix/api";
import { ownRefusal } from "./exchange.ts";
import { failedLoad } from "./pod-state.ts";
import { adapterRank } from "./rank.ts";
import type { Observed, ObservedPod, PodRow, Refusal } from "./types.ts";

/**
 * Whether a row is there only to remember that a pod refused: the adapter is on another one instead. A controller that is started anew knows by
 * it where not to ask again. Pure.
 */
export function isMemory(row: PodRow, { instances }: ModelAdapterStatus): boolean {
  return row.state === "Failed" && instances?.includes(row.name) === false;
}

/** The rows of pods that the adapter is on, or that it is leaving. Pure. */
export function heldRows(status: ModelAdapterStatus | undefined): readonly PodRow[] {
  return (status?.pods ?? []).filter((row) => !isMemory(row, status ?? {}));
}

/** Why a pod that the adapter is not on, and could be, refused it; `undefined` where it did not. Pure. */
export function rememberedRefusal(o: Observed, p: ObservedPod): Refusal | undefined {
  if (!p.matches) return undefined;
  const [rank, limit] = [adapterRank(o), p.limits.maxLoraRank];
  // The pod's own limit says it again.
  if (rank !== undefined && limit !== undefined && limit < rank) return undefined;
  const asked = o.placed.includes(p.facts.name) || failedLoad(p)?.retryable === false;
  return p.refusal ?? (asked ? ownRefusal(o, p) : undefined);
}
