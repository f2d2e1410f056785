import { createHash } from "node:crypto";
import type { ModelAdapterSpec } from "@aibrix/api";
import type { ObservedPod } from "./types.ts";

/** Copied to each pod from its node by Kubernetes 1.35 and newer (admission plugin PodTopologyLabels). */
const LABEL_ZONE = "topology.kubernetes.io/zone";
/**
 * Adapters for which a pod has room whose engine runs with vLLM's default of one: that is nobody's choice, and by it every pod in use would be
 * full, while an engine serves some by reading them in turn.
 */
const ROOM_BY_DEFAULT = 8;

/** How little a pod is wanted, most weighty first; the lower one wins at the first that differs. */
type Score = readonly (number | string)[];

interface Choice {
  /** Pods that have the adapter, or are going to. */
  readonly taken: readonly ObservedPod[];
  readonly adapterUid: string;
  /** Adapters on the pod that has the fewest. */
  readonly least: number;
}

type Scorer = (pod: ObservedPod, choice: Choice) => Score;

/**
 * Away from the zones and nodes that have the adapter already, so that one that is lost takes one replica; then where the fewest adapters are.
 * A pod that has more adapters than room comes after the others: it reads them again and again. That is weighed by doublings, so that where all
 * are full one adapter more or less does not put two replicas on one node.
 */
const leastAdapters: Scorer = (p, { taken, least }) => {
  const inZone = count(taken, p, (q) => q.facts.labels[LABEL_ZONE]);
  const onNode = count(taken, p, (q) => q.facts.nodeName);
  return [crowding(p, least), inZone, onNode, p.load, p.facts.name];
};

/** The fullest pod that still has room for one more, so that others stay empty; where all are full, the least full. */
const binPack: Scorer = (p) => (isFull(p) ? [1, p.load, p.facts.name] : [0, -p.load, p.facts.name]);

/** By chance, but the same for an adapter and a pod each time: a decision that is made again is the same. */
const random: Scorer = (p, { adapterUid }) => [createHash("sha256").update(`${adapterUid}/${p.facts.uid}`).digest("hex")];

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
  const least = Math.min(...free.map((p) => p.load));
  while (chosen.length < wanted && left.size > 0) {
    const choice = { taken: [...taken, ...chosen], adapterUid, least };
    const scored = [...left].map((pod) => ({ pod, score: score(pod, choice) }));
    const { pod } = scored.reduce((best, next) => (isLess(next.score, best.score) ? next : best));
    chosen.push(pod);
    left.delete(pod);
  }
  return chosen;
}

/** How many adapters a pod has room for. */
function room({ limits }: ObservedPod): number {
  return limits.chosen ? limits.maxCpuLoras : Math.max(ROOM_BY_DEFAULT, limits.maxCpuLoras);
}

/** One adapter more would not fit beside those that it has. */
function isFull(p: ObservedPod): boolean {
  return p.load >= room(p);
}

/** 0 where one more fits; else 1, and one more for each doubling of the room, or of what the emptiest pod has where that is more. */
function crowding(p: ObservedPod, least: number): number {
  return isFull(p) ? 1 + Math.floor(Math.log2(Math.max(1, (p.load + 1) / Math.max(room(p), least + 1)))) : 0;
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
