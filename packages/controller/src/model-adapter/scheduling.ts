import { createHash } from "node:crypto";
import type { ModelAdapterSpec } from "@aibrix/api";
import type { ObservedPod } from "./types.ts";

/** Copied to each pod from its node by Kubernetes 1.35 and newer (admission plugin PodTopologyLabels). */
const LABEL_ZONE = "topology.kubernetes.io/zone";

/** How little a pod is wanted, most weighty first; the lower one wins at the first that differs. */
type Score = readonly (number | string)[];

type Scorer = (pod: ObservedPod, taken: readonly ObservedPod[], adapterUid: string) => Score;

/**
 * Away from the zones and nodes that have the adapter already, so that one that is lost takes one replica; then where the fewest adapters are.
 * A pod that has more adapters than it can hold in memory comes after all others: it reads them again and again.
 */
const leastAdapters: Scorer = (p, taken) => {
  const inZone = count(taken, p, (q) => q.facts.labels[LABEL_ZONE]);
  const onNode = count(taken, p, (q) => q.facts.nodeName);
  // A pod that is alone on its node would get every adapter, if room did not count first.
  return isFull(p) ? [1, p.load, inZone, onNode, p.facts.name] : [0, inZone, onNode, p.load, p.facts.name];
};

/** The fullest pod that still holds one more in memory, so that others stay empty; where all are full, the least full. */
const binPack: Scorer = (p) => (isFull(p) ? [1, p.load, p.facts.name] : [0, -p.load, p.facts.name]);

/** By chance, but the same for an adapter and a pod each time: a decision that is made again is the same. */
const random: Scorer = (p, _, adapterUid) => [createHash("sha256").update(`${adapterUid}/${p.facts.uid}`).digest("hex")];

const SCORERS: Readonly<Record<NonNullable<ModelAdapterSpec["schedulerName"]>, Scorer>> = {
  default: leastAdapters,
  "least-adapters": leastAdapters,
  "bin-pack": binPack,
  random,
};

/**
 * Chooses pods for so many replicas more. Pure.
 *
 * @param free - pods that can take the adapter
 * @param taken - pods that have it
 */
export function choose(
  wanted: number,
  free: readonly ObservedPod[],
  taken: readonly ObservedPod[],
  { schedulerName = "default", adapterUid }: { readonly schedulerName: ModelAdapterSpec["schedulerName"]; readonly adapterUid: string },
): readonly ObservedPod[] {
  const score = SCORERS[schedulerName];
  const chosen: ObservedPod[] = [];
  const left = new Set(free);
  while (chosen.length < wanted && left.size > 0) {
    const all = [...taken, ...chosen];
    const scored = [...left].map((pod) => ({ pod, score: score(pod, all, adapterUid) }));
    const { pod } = scored.reduce((best, next) => (isLess(next.score, best.score) ? next : best));
    chosen.push(pod);
    left.delete(pod);
  }
  return chosen;
}

/** One adapter more would not fit into the engine's memory beside those that it has. */
export function isFull({ facts, load }: ObservedPod): boolean {
  return load >= facts.limits.maxCpuLoras;
}

/** How many of the pods share a place with one; what has no place shares none. */
function count(pods: readonly ObservedPod[], pod: ObservedPod, place: (pod: ObservedPod) => string | undefined): number {
  const own = place(pod);
  return own === undefined ? 0 : pods.filter((p) => place(p) === own).length;
}

function isLess(a: Score, b: Score): boolean {
  const at = a.findIndex((part, i) => part !== b[i]);
  return at !== -1 && (a[at] ?? 0) < (b[at] ?? 0);
}
