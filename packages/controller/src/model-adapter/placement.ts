import type { Reason } from "@aibrix/api";
import { canaryPods, stepsOf } from "./canary.ts";
import { exchangeAtMs, isDoubtful, whyExchanged } from "./exchange.ts";
import { mayHold, mayTake, podState, routable } from "./pod-state.ts";
import { adapterRank, podRankLimit, rankTooHigh } from "./rank.ts";
import { choose } from "./scheduling.ts";
import type { Observed, ObservedPod, Obstacle, Replaced } from "./types.ts";

/** How long a pod that is not ready keeps its adapters where another pod could take them, in milliseconds: an engine's restart. */
export const NOT_READY_GRACE_MS = 60_000;
/** How often an adapter that no pod takes is looked at again, in milliseconds: a limit may be told of later than all else of a pod. */
const RANK_PERIOD_MS = 30_000;
/** Pods that a message names one by one. */
const MAX_NAMED = 3;

export interface Placement {
  readonly pods: readonly ObservedPod[];
  /** Why there are none. */
  readonly obstacle: Obstacle | undefined;
  /** What to say where it is not on all pods on which it should be. */
  readonly note: string | undefined;
  /** Pods that had it and gave their replica to another one. */
  readonly replaced: readonly Replaced[];
  /** When time alone may change this, in milliseconds since the epoch. */
  readonly againAtMs: number | undefined;
}

/** A pod that matches, and why it cannot have the adapter at all; `undefined` where it can, now or once it is ready. */
interface Candidate {
  readonly pod: ObservedPod;
  readonly rejection: Rejection | undefined;
}

interface Rejection {
  readonly reason: Reason;
  readonly message: string;
}

/**
 * Chooses the pods. Pure. Sticky: a pod that has the adapter keeps it as long as it can. Without `replicas` every pod that can take it;
 * with it, those that `schedulerName` prefers. A pod that has it and does not get it served gives its replica to one that may.
 */
export function place(o: Observed): Placement {
  const rank = adapterRank(o);
  const candidates = o.pods.filter((p) => p.matches).map((pod) => ({ pod, rejection: rejection(o, pod, rank) }));
  const able = candidates.flatMap((c) => (c.rejection === undefined || keepsOld(o, c.pod) ? [c.pod] : []));
  const replicas = o.adapter?.spec.replicas;
  const had = able.filter((p) => o.placed.includes(p.facts.name));
  const others = able.filter((p) => !o.placed.includes(p.facts.name));
  if (replicas === undefined) return result(o, rank, [...had, ...others.filter(mayTake)], candidates, { times: [], replaced: [] });
  const free = others.filter((p) => p.facts.ready);
  const away = had.filter((p) => !p.facts.ready);
  const kept = had
    .filter((p) => p.facts.ready || waitsForPod(p, o.nowMs))
    .sort((a, b) => order(o, a) - order(o, b) || a.load - b.load || byName(a, b));
  const sound = withOld(
    o,
    kept.filter((p) => whyExchanged(o, p) === undefined),
    replicas,
  ).slice(0, replicas);
  const failing = kept.filter((p) => whyExchanged(o, p) !== undefined);
  const how = { schedulerName: o.adapter?.spec.schedulerName, adapterUid: o.adapter?.metadata.uid ?? "" };
  const added = choose(
    replicas - sound.length,
    free.filter((p) => !isDoubtful(o, p)),
    sound,
    how,
  );
  const chosen = [...sound, ...added, ...failing].slice(0, replicas);
  // One that may refuse it too is better than none, and tells why.
  chosen.push(
    ...choose(
      replicas - chosen.length,
      free.filter((p) => !chosen.includes(p)),
      chosen,
      how,
    ),
  );
  // Better a pod that is away than none at all.
  const spare = away.filter((p) => !chosen.includes(p)).slice(0, Math.max(0, replicas - chosen.length));
  const given = failing.filter((p) => !chosen.includes(p));
  // What serves an older adapter goes on until another pod serves the new one, which may be many turns later.
  const covering = chosen.some((p) => !routable(p, podState(o, p))) ? given.filter((p) => routable(p, podState(o, p))) : [];
  const left: Replaced[] = [
    ...given.map((p) => ({ pod: p.facts.name, why: whyExchanged(o, p) ?? "" })),
    ...candidates
      .filter(({ pod, rejection: r }) => r?.reason === "RankTooHigh" && o.placed.includes(pod.facts.name))
      .map(({ pod, rejection: r }) => ({ pod: pod.facts.name, why: `it ${r?.message}, and the adapter has rank ${rank}` })),
  ];
  return result(o, rank, [...chosen, ...spare, ...covering], candidates, {
    times: [...away.map((p) => (p.facts.readySinceMs ?? 0) + NOT_READY_GRACE_MS), ...kept.flatMap((p) => exchangeAtMs(o, p) ?? [])],
    replaced: added.length === 0 ? [] : left,
  });
}

/**
 * The same pods; of those with a content on trial as many come first as the step has with that many pods, so that fewer `replicas` never leave it
 * alone. Others of them come last.
 */
function withOld(o: Observed, pods: readonly ObservedPod[], replicas: number): readonly ObservedPod[] {
  const { update } = o.rollout;
  const old = pods.filter((p) => p.weight === undefined && routable(p, podState(o, p)));
  // Better those than none.
  if (update?.canary === undefined || old.length === 0) return pods;
  const weight = stepsOf(o.adapter?.spec.rollout)?.[update.canary.step - 1]?.weight ?? update.canary.weight;
  const tried = pods.filter((p) => p.weight !== undefined);
  const staying = update.state === "Failed" ? [] : tried.slice(0, canaryPods(weight, Math.min(replicas, pods.length)));
  return [...new Set([...old.slice(0, replicas - staying.length), ...staying, ...pods.filter((p) => !tried.includes(p)), ...tried])];
}

function result(
  o: Observed,
  rank: number | undefined,
  pods: readonly ObservedPod[],
  candidates: readonly Candidate[],
  { times, replaced }: { readonly times: readonly number[]; readonly replaced: readonly Replaced[] },
): Placement {
  const all = [...pods].sort(byName);
  const block = all.length > 0 ? undefined : obstacle(o, rank, candidates);
  const coming = [...times, ...(block?.reason === "RankTooHigh" ? [o.nowMs + RANK_PERIOD_MS] : [])].filter((t) => t > o.nowMs);
  const short = all.length > 0 && all.length < (o.adapter?.spec.replicas ?? Number.POSITIVE_INFINITY);
  return {
    pods: all,
    obstacle: block,
    note: short ? tooLow(o, rank, candidates) : undefined,
    replaced,
    againAtMs: coming.length === 0 ? undefined : Math.min(...coming),
  };
}

/** An edit to what cannot be delivered takes nothing away: the pod goes on with what it has. */
function keepsOld(o: Observed, p: ObservedPod): boolean {
  const { facts, delivery } = p;
  const able = !facts.terminating && !facts.finished && facts.engine === "vllm";
  return able && delivery.kind === "refused" && o.placed.includes(facts.name) && mayHold(o, p);
}

function rejection(o: Observed, p: ObservedPod, rank: number | undefined): Rejection | undefined {
  const { facts, delivery } = p;
  if (facts.terminating || facts.finished) return { reason: "PodsNotReady", message: "is ending" };
  if (facts.engine !== "vllm")
    return {
      reason: "EngineNotSupported",
      message: `runs the engine ${facts.engine} (label model.aibrix.ai/engine): only vllm takes adapters`,
    };
  if (delivery.kind === "refused") return { reason: delivery.reason, message: delivery.message };
  const limit = podRankLimit(o, p);
  // What serves is left alone, whatever somebody says of it: an older adapter, or one that its engine takes all the same.
  const serves = o.placed.includes(facts.name) && podState(o, p).serving;
  // The rank is that of what is declared now. Where a pod is to have older content, while that is swapped or put back, too, it says nothing.
  if (rank !== undefined && limit !== undefined && limit < rank && p.current && !serves)
    return { reason: "RankTooHigh", message: `takes rank ${limit}` };
  return undefined;
}

function obstacle(o: Observed, rank: number | undefined, candidates: readonly Candidate[]): Obstacle {
  if (candidates.length === 0) {
    const message =
      "no pod of the namespace matches the podSelector (pods need the label model.aibrix.ai/name): start one, or mend the selector";
    return { reason: "NoMatchingPods", message, final: false };
  }
  const rejections = candidates.map(({ pod, rejection: r }) => ({
    pod: pod.facts.key,
    ...(r ?? { reason: "PodsNotReady" as Reason, message: "is not ready" }),
  }));
  const low = tooLow(o, rank, candidates);
  const waits = candidates.some((c) => c.rejection === undefined);
  // What somebody must mend is told before what time mends; what one pod is too small for another may take once it is ready.
  const worst = rejections.find((r) => r.reason !== "PodsNotReady" && r.reason !== "RankTooHigh");
  if (worst === undefined && low !== undefined && !waits) return { reason: "RankTooHigh", message: low, final: false };
  const reason = worst?.reason ?? "PodsNotReady";
  const same = rejections.filter((r) => r.reason === reason);
  const shown = same.slice(0, MAX_NAMED).map((r) => `${r.pod}: ${r.message}`);
  const more = same.length > MAX_NAMED ? `; and ${same.length - MAX_NAMED} more pods` : "";
  const also = low === undefined ? "" : `; ${low}`;
  return { reason, message: shown.join("; ") + more + also, final: reason !== "PodsNotReady" };
}

/** What to say of the pods whose engines take no adapter of this rank. */
function tooLow(o: Observed, rank: number | undefined, candidates: readonly Candidate[]): string | undefined {
  const low = candidates.flatMap(({ pod, rejection: r }) =>
    r?.reason === "RankTooHigh" ? [{ pod: pod.facts.key, limit: podRankLimit(o, pod) ?? 0 }] : [],
  );
  if (rank === undefined || low.length === 0) return undefined;
  return rankTooHigh(rank, low.slice(0, MAX_NAMED), low.length - MAX_NAMED);
}

function waitsForPod(p: ObservedPod, nowMs: number): boolean {
  return p.facts.readySinceMs !== undefined && nowMs - p.facts.readySinceMs < NOT_READY_GRACE_MS;
}

/** What serves is kept before what does not. */
function order(o: Observed, p: ObservedPod): number {
  return routable(p, podState(o, p)) ? 0 : p.facts.ready ? 1 : 2;
}

function byName(a: ObservedPod, b: ObservedPod): number {
  return a.facts.name < b.facts.name ? -1 : 1;
}
