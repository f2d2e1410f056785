import type { AdapterState, AdapterStatus, Prepared } from "@aibrix/api";
import { baseModelWarning } from "../artifact/check/base-model.ts";
import type { Progress } from "../artifact/transfer/meter.ts";
import type { EngineView } from "../engine/observer.ts";
import type { Declaration, Problem } from "./declaration.ts";
import type { Probed } from "./memory.ts";
import { type Facts, isStuck, plan } from "./plan.ts";

/** How long things took last, in milliseconds. */
export interface Timings {
  readonly downloadMs?: number;
  /** In the engine. */
  readonly loadMs?: number;
}

/** What is shown of an adapter beyond what decides about it. */
export interface Shown {
  readonly declaration: Declaration;
  readonly facts: Facts;
  /** A load or unload of it is running. */
  readonly busyWithEngine: boolean;
  /** It waits for one of the few places for downloads. */
  readonly queuedForDownload: boolean;
  readonly download: Progress | undefined;
  readonly attempts: number;
  /** The base model that the adapter's own configuration names. */
  readonly trainedOn: string | undefined;
  /** Files of what serves were gone, and are not here again yet. */
  readonly refetches: boolean;
  /** The highest rank of any of its modules. */
  readonly maxRank: number | undefined;
  readonly timings: Timings;
  readonly prepared: Prepared | undefined;
  /** Since when newer content waits for requests of what serves, on the steady clock. */
  readonly waitsSinceMs: number | undefined;
  /** How it was found that what serves answers. */
  readonly probed: Probed | undefined;
  /** What served was given up for other content. */
  readonly gaveUp: boolean;
  readonly serving: { readonly digest: string; readonly path: string; readonly sinceMs: number } | undefined;
}

/**
 * An adapter as the HTTP API shows it. Pure: only what was observed counts as serving.
 *
 * @param timeOf - a time of the clock of `nowMs` in milliseconds since the epoch
 */
export function adapterStatus(s: Shown, engine: EngineView, nowMs: number, timeOf: (ms: number) => number): AdapterStatus {
  const { state, problem } = stateOf(s, engine, nowMs);
  const { facts, declaration, serving, download } = s;
  const retryAtMs = facts.failure?.retryAtMs;
  const rfc3339 = (ms: number) => new Date(timeOf(ms)).toISOString();
  const message = problem === undefined ? (s.refetches ? FILES_GONE : warning(s, engine)) : problem.message;
  return {
    lora_name: declaration.name,
    artifact_url: declaration.url,
    origin: declaration.origin,
    ...(declaration.origin === "api" ? { owner: declaration.owner ?? null } : {}),
    state,
    serving: serving === undefined ? null : { ...digest(serving.digest), path: serving.path, since: rfc3339(serving.sinceMs) },
    ...digest(facts.wanted?.digest),
    ...(facts.wanted?.revision === undefined ? {} : { resolved_revision: facts.wanted.revision }),
    ...(download === undefined
      ? {}
      : { download: { bytes: download.bytes, total_bytes: download.totalBytes, bytes_per_second: download.bytesPerSecond } }),
    ...(s.maxRank === undefined ? {} : { max_rank: s.maxRank }),
    ...(s.probed === undefined || s.probed === "pending" ? {} : { probed: s.probed }),
    ...timings(s.timings),
    ...(s.prepared === undefined ? {} : { prepared: s.prepared }),
    ...(s.waitsSinceMs === undefined ? {} : { waits_since: rfc3339(s.waitsSinceMs) }),
    ...(isSwapping(s, engine, nowMs) ? { swapping: true } : {}),
    attempts: s.attempts,
    ...(problem === undefined ? {} : { reason: problem.reason }),
    ...(message === undefined ? {} : { message }),
    ...(problem === undefined
      ? {}
      : { retryable: problem === facts.failure ? facts.failure.retryable : problem.reason === "EngineUnavailable" }),
    ...(problem === undefined || problem !== facts.failure || facts.failure.cause === undefined ? {} : { cause: facts.failure.cause }),
    ...(state === "Failed" && retryAtMs !== undefined ? { next_retry_time: rfc3339(retryAtMs) } : {}),
  };
}

function digest(value: string | undefined): { readonly content_digest?: string } {
  return value === undefined || value === "" ? {} : { content_digest: value };
}

function timings({ downloadMs, loadMs }: Timings): Pick<AdapterStatus, "timings"> {
  if (downloadMs === undefined && loadMs === undefined) return {};
  return {
    timings: {
      ...(downloadMs === undefined ? {} : { download_ms: Math.round(downloadMs) }),
      ...(loadMs === undefined ? {} : { load_ms: Math.round(loadMs) }),
    },
  };
}

function stateOf(s: Shown, engine: EngineView, nowMs: number): { readonly state: AdapterState; readonly problem?: Problem } {
  const { facts, serving } = s;
  if (facts.removing) return facts.failure === undefined ? { state: "Draining" } : { state: "Draining", problem: facts.failure };
  if (serving !== undefined && serving.path === facts.wanted?.path) return { state: "Serving" };
  if (serving !== undefined && s.refetches && facts.failure === undefined) return { state: "Serving" };
  if (facts.fetching) {
    if (serving !== undefined) return { state: "Updating" };
    return { state: s.queuedForDownload ? "Pending" : "Downloading" };
  }
  if (s.busyWithEngine && !isStuck(facts.failure, nowMs)) return { state: serving === undefined ? "Loading" : "Updating" };
  if (facts.failure !== undefined) return { state: "Failed", problem: facts.failure };
  const step = plan(facts, engine, nowMs);
  const problem = step.kind === "blocked" ? step.problem : facts.hold;
  // An engine that is away is waited for; everything else needs somebody to do something.
  if (problem !== undefined) return { state: problem.reason === "EngineUnavailable" ? "Pending" : "Failed", problem };
  return { state: serving === undefined ? (step.kind === "load" || step.kind === "probe" ? "Loading" : "Pending") : "Updating" };
}

/** Not where nothing can come: what is refused may stay so. */
function isSwapping({ gaveUp, serving, facts }: Shown, engine: EngineView, nowMs: number): boolean {
  if (!gaveUp || serving !== undefined || facts.removing) return false;
  const { kind } = plan(facts, engine, nowMs);
  return kind === "load" || kind === "probe";
}

const FILES_GONE =
  "warning: files of the adapter were gone from the volume, and are fetched again before the engine needs them: see who removes them";

function warning({ declaration: { baseModel }, trainedOn }: Shown, { baseModels, models }: EngineView): string | undefined {
  if (baseModel === undefined || baseModels.length === 0 || baseModels.includes(baseModel))
    return baseModelWarning(trainedOn, models?.values() ?? []);
  return `warning: spec.baseModel is "${baseModel}", the engine serves ${baseModels.join(", ")}`;
}
