import { RUNTIME_PATHS, type Snapshot } from "@aibrix/api";
import { type ClusterReport, clusterReport, isHealthy } from "../cluster/status.ts";
import { getJson } from "./probe.ts";
import { isAlive } from "./process-id.ts";
import { type RunPart, readRunFile } from "./run-file.ts";
import { type KubernetesFile, readStackFile, type StandaloneFile } from "./stack-file.ts";
import type { StateDir } from "./state-dir.ts";

export interface PartStatus {
  readonly name: string;
  readonly pid: number;
  readonly alive: boolean;
  /** ISO 8601 */
  readonly since: string;
  readonly url?: string;
}

export interface EngineReport {
  readonly name: string;
  readonly url: string;
  readonly runtime: string;
  /** What its runtime says; `undefined` where it does not answer. */
  readonly snapshot?: Snapshot;
}

/** What `status` shows. */
export interface StackStatus {
  /** `stale`: the supervisor was killed, and its parts may still run. `degraded`: a cluster's node or one of the platform's pods is not Ready. */
  readonly state: "ready" | "degraded" | "starting" | "stale" | "stopped";
  readonly dir: string;
  readonly stack?: Omit<StandaloneFile, "s3" | "pids"> | Omit<KubernetesFile, "pids">;
  readonly parts: readonly PartStatus[];
  readonly engines: readonly EngineReport[];
  /** Where the stack is on Kubernetes. */
  readonly cluster?: ClusterReport;
}

/** Looks at the stack of a state folder. */
export async function stackStatus(dir: StateDir, signal: AbortSignal): Promise<StackStatus> {
  const run = readRunFile(dir);
  if (run === undefined) return { state: "stopped", dir: dir.root, parts: [], engines: [] };
  const supervised = isAlive(run.supervisor);
  const stack = supervised ? readStackFile(dir) : undefined;
  const all: readonly (readonly [string, RunPart])[] = [["supervisor", run.supervisor], ...Object.entries(run.parts)];
  const parts = all.map(([name, { pid, since, url, ...id }]) => ({
    name,
    pid,
    alive: isAlive({ pid, ...id }),
    since,
    ...(url === undefined ? {} : { url }),
  }));
  const state = !supervised ? "stale" : stack === undefined ? "starting" : "ready";
  if (stack === undefined) return { state, dir: dir.root, parts, engines: [] };
  if (stack.mode === "kubernetes") {
    const { pids: _pids, ...shown } = stack;
    const cluster = await clusterReport(stack, signal);
    return { state: isHealthy(cluster) ? "ready" : "degraded", dir: dir.root, stack: shown, parts, engines: [], cluster };
  }
  const { s3: _secret, pids: _pids, ...shown } = stack;
  const engines = await Promise.all(stack.engines.map((e, i) => engineReport(`engine-${i + 1}`, e, signal)));
  return { state, dir: dir.root, stack: shown, parts, engines };
}

async function engineReport(name: string, { url, runtime }: StandaloneFile["engines"][number], signal: AbortSignal): Promise<EngineReport> {
  try {
    return { name, url, runtime, snapshot: (await getJson(runtime + RUNTIME_PATHS.adapters, signal)) as Snapshot };
  } catch {
    return { name, url, runtime };
  }
}
