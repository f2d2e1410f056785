import type { Content } from "./contents.ts";
import type { Observed, ObservedPod } from "./types.ts";

/** Most pods that one call names. */
const MAX_PEERS = 3;

/** A pod whose sidecar gives a content to others. */
export interface Peer {
  /** Where it is asked. */
  readonly url: string;
  /** Names its sidecar as it runs now, and that of the pod which is told of it: after a restart of either the same call is another one. */
  readonly mark: string;
}

/**
 * Other pods that have a content whole, and whose sidecars would give it: a pod asks them where the source has moved on. Which ones, where there
 * are many, differs from pod to pod. Pure.
 */
export function peersOf(o: Observed, p: Pick<ObservedPod, "facts" | "view">, { digest }: Content): readonly Peer[] {
  if (digest === undefined) return [];
  const at = o.pods.findIndex((q) => q.facts.uid === p.facts.uid);
  const others = [...o.pods.slice(at + 1), ...o.pods.slice(0, Math.max(0, at))];
  return others
    .flatMap((q) => {
      const url = has(o, q, digest) ? q.contentsUrl : undefined;
      return url === undefined ? [] : [{ url, mark: `${p.view.instance} ${q.facts.uid} ${q.view.instance}` }];
    })
    .slice(0, MAX_PEERS);
}

function has(o: Observed, { facts, view }: ObservedPod, digest: string): boolean {
  if (!facts.ready || facts.terminating || facts.finished || view.knowledge !== "fresh") return false;
  const entry = view.adapters.get(o.name);
  const isPrepared = entry?.prepared?.state === "Ready" && entry.prepared.contentDigest === digest;
  return entry?.contentDigest === digest || entry?.declaredDigest === digest || isPrepared;
}

/**
 * Whether a pod has failed because its source does not give the decided content any more, and another pod has it that it was not told of. What
 * it has failed with is final to the sidecar, so it has to be told again. Pure.
 */
export function wantsPeers(o: Observed, p: ObservedPod): boolean {
  const entry = p.view.adapters.get(o.name);
  if (entry?.state !== "Failed" || !OF_THE_SOURCE.includes(entry.reason ?? "")) return false;
  const told = p.call.done?.kind === "load" ? (p.call.done.peers ?? []) : [];
  return peersOf(o, p, p.content).some(({ mark }) => !told.includes(mark));
}

/** The source has other content by now, or what is no adapter. */
const OF_THE_SOURCE: readonly string[] = ["ArtifactChanged", "ArtifactInvalid"];
