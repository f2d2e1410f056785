import { rankLimit } from "@aibrix/api";
import { isDeclared } from "./declared-url.ts";
import { failedLoad } from "./pod-state.ts";
import type { Observed, ObservedPod } from "./types.ts";

/** The words of runtimes of every release, and of vLLM itself. */
const TOO_HIGH = /\brank (\d+)\b.{0,60}?\b(?:takes(?: at most)?|max_lora_rank) (\d+)\b/;

/** What a refusal for a rank that is too high says of the adapter's rank and of the limit. Pure; `undefined` for any other refusal. */
export function refusedRank(message: string | undefined): { readonly rank: number; readonly limit: number } | undefined {
  const [, rank, limit] = TOO_HIGH.exec(message ?? "") ?? [];
  return rank === undefined || limit === undefined ? undefined : { rank: Number(rank), limit: Number(limit) };
}

/** The highest rank of any of the adapter's modules, as a sidecar read it or a refusal says; `undefined` where nobody has told. Pure. */
export function adapterRank(o: Observed): number | undefined {
  const told = o.pods.flatMap((p) => toldRank(o, p) ?? refusalOn(o, p)?.rank ?? []);
  if (told.length > 0) return Math.max(...told);
  const known = o.adapter?.status?.adapterRank;
  // What was edited may be another adapter.
  return known?.generation === o.adapter?.metadata.generation ? known?.value : undefined;
}

/** The rank that the pod's sidecar has read of what is declared now. */
export function toldRank(o: Observed, p: ObservedPod): number | undefined {
  const entry = p.view.adapters.get(o.name);
  return entry?.own === true && isDeclared(o.adapter, entry.artifactUrl) ? entry.maxRank : undefined;
}

/** The highest rank that the pod is known to take: it said so, or has refused more. Pure. */
export function podRankLimit(o: Observed, p: ObservedPod): number | undefined {
  const limits = [p.limits.maxLoraRank, refusalOn(o, p)?.limit].filter((l) => l !== undefined);
  return limits.length === 0 ? undefined : Math.min(...limits);
}

/** What to tell of pods that take no adapter of this rank. Pure. */
export function rankTooHigh(rank: number, pods: readonly { readonly pod: string; readonly limit: number }[], more: number): string {
  const takes = pods.map(({ pod, limit }) => `${pod} takes ${limit}`).join(", ");
  const others = more > 0 ? `, and ${more} more pods less than that` : "";
  return `rank ${rank}; ${takes}${others}: start the engine with --max-lora-rank=${rankLimit(rank)} or more`;
}

function refusalOn(o: Observed, p: ObservedPod): { readonly rank: number; readonly limit: number } | undefined {
  const entry = p.view.adapters.get(o.name);
  const said = entry !== undefined && isDeclared(o.adapter, entry.artifactUrl) ? entry.message : undefined;
  return refusedRank(said) ?? refusedRank(failedLoad(p)?.message) ?? refusedRank(p.refusal?.message);
}
