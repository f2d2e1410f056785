import type { Reason } from "@aibrix/api";
import { mayHold, podState, routable } from "./pod-state.ts";
import { choose } from "./scheduling.ts";
import type { Observed, ObservedPod, Obstacle } from "./types.ts";

/** How long a pod that is not ready keeps its adapters where another pod could take them, in milliseconds: an engine's restart. */
export const NOT_READY_GRACE_MS = 60_000;

export interface Placement {
  readonly pods: readonly ObservedPod[];
  /** Why there are none. */
  readonly obstacle: Obstacle | undefined;
  /** When time alone may change this, in milliseconds since the epoch. */
  readonly againAtMs: number | undefined;
}

/**
 * Chooses the pods. Pure. Sticky: a pod that has the adapter keeps it as long as it can. Without `replicas` every pod that can take it;
 * with it, those that `schedulerName` prefers.
 */
export function place(o: Observed): Placement {
  const candidates = o.pods.filter((p) => p.matches);
  const able = candidates.filter((p) => rejection(p) === undefined || keepsOld(o, p));
  const replicas = o.adapter?.spec.replicas;
  const had = able.filter((p) => o.placed.includes(p.facts.name));
  const free = able.filter((p) => p.facts.ready && !o.placed.includes(p.facts.name));
  if (replicas === undefined) return result([...had, ...free].sort(byName), candidates, undefined);
  const away = had.filter((p) => !p.facts.ready);
  const kept = had.filter((p) => p.facts.ready || waitsForPod(p, o.nowMs)).sort((a, b) => rank(o, a) - rank(o, b) || byName(a, b));
  const { schedulerName } = o.adapter?.spec ?? {};
  const added = choose(replicas - kept.length, free, kept, { schedulerName, adapterUid: o.adapter?.metadata.uid ?? "" });
  const chosen = [...kept, ...added].slice(0, replicas);
  // Better a pod that is away than none at all.
  const spare = away.filter((p) => !chosen.includes(p)).slice(0, Math.max(0, replicas - chosen.length));
  const times = away.map((p) => (p.facts.readySinceMs ?? 0) + NOT_READY_GRACE_MS).filter((t) => t > o.nowMs);
  return result([...chosen, ...spare].sort(byName), candidates, times.length === 0 ? undefined : Math.min(...times));
}

function result(pods: readonly ObservedPod[], candidates: readonly ObservedPod[], againAtMs: number | undefined): Placement {
  return { pods, obstacle: pods.length > 0 ? undefined : obstacle(candidates), againAtMs };
}

/** An edit to what cannot be delivered takes nothing away: the pod goes on with what it has. */
function keepsOld(o: Observed, p: ObservedPod): boolean {
  const { facts, delivery } = p;
  const able = !facts.terminating && !facts.finished && facts.engine === "vllm";
  return able && delivery.kind === "refused" && o.placed.includes(facts.name) && mayHold(o, p);
}

/** Why a pod cannot have the adapter at all; `undefined` where it can, now or once it is ready. */
function rejection(p: ObservedPod): { readonly reason: Reason; readonly message: string } | undefined {
  const { facts, delivery } = p;
  if (facts.terminating || facts.finished) return { reason: "PodsNotReady", message: "is ending" };
  if (facts.engine !== "vllm")
    return {
      reason: "EngineNotSupported",
      message: `runs the engine ${facts.engine} (label model.aibrix.ai/engine): only vllm takes adapters`,
    };
  if (delivery.kind === "refused") return { reason: delivery.reason, message: delivery.message };
  return undefined;
}

function obstacle(candidates: readonly ObservedPod[]): Obstacle {
  if (candidates.length === 0) {
    const message =
      "no pod of the namespace matches the podSelector (pods need the label model.aibrix.ai/name): start one, or mend the selector";
    return { reason: "NoMatchingPods", message, final: false };
  }
  const rejections = candidates.map((p) => ({
    pod: p.facts.key,
    ...(rejection(p) ?? { reason: "PodsNotReady" as Reason, message: "is not ready" }),
  }));
  // What somebody must mend is told before what time mends.
  const worst = rejections.find((r) => r.reason !== "PodsNotReady") ?? rejections[0];
  const reason = worst?.reason ?? "PodsNotReady";
  const same = rejections.filter((r) => r.reason === reason);
  const shown = same.slice(0, 3).map((r) => `${r.pod}: ${r.message}`);
  const more = same.length > 3 ? `; and ${same.length - 3} more pods` : "";
  return { reason, message: shown.join("; ") + more, final: reason !== "PodsNotReady" };
}

function waitsForPod(p: ObservedPod, nowMs: number): boolean {
  return p.facts.readySinceMs !== undefined && nowMs - p.facts.readySinceMs < NOT_READY_GRACE_MS;
}

/** What serves is kept before what does not. */
function rank(o: Observed, p: ObservedPod): number {
  return routable(p, podState(o, p)) ? 0 : p.facts.ready ? 1 : 2;
}

function byName(a: ObservedPod, b: ObservedPod): number {
  return a.facts.name < b.facts.name ? -1 : 1;
}
