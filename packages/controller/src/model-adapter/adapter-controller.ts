import { matchesSelector } from "@aibrix/api";
import { type Change, Controller, type Log, type Outcome, type Pod } from "@aibrix/kube";
import { BY_NAMESPACE, type Caches, serviceKeyOf } from "../caches.ts";
import { matters } from "../endpoints/engines-controller.ts";
import type { AgentPool } from "../engines/pool.ts";
import { factsOf } from "../pods/trim.ts";
import { type ReconcileDeps, reconcile } from "./reconcile.ts";
import type { ModelAdapterObject } from "./types.ts";

export interface AdapterControllerOptions {
  readonly deps: ReconcileDeps & { readonly caches: Caches };
  readonly workers: number;
  readonly log: Log;
  readonly onReconcile: (outcome: Outcome, durationMs: number) => void;
}

/** How often every adapter is looked at although nothing happened, in milliseconds. */
const RESYNC_MS = 600_000;

/** Queues adapters for every change that concerns them, and reconciles them. */
export function adapterController({ deps, workers, log, onReconcile }: AdapterControllerOptions): Controller {
  const { caches, memories, placements, agents, calls } = deps;
  const controller = new Controller({
    name: "modeladapter",
    workers,
    reconcile: (key, signal) => reconcile(key, deps, signal),
    reflectors: caches.reflectors,
    resync: { everyMs: RESYNC_MS, keys: () => caches.adapters.keys() },
    log,
    onReconcile,
  });
  controller.follow(caches.adapters, (change) => {
    if (change.type === "deleted") memories.find(change.key)?.adapter.forget(change.key);
    if (change.type === "added") remember(change.object, change.key, deps);
    if (change.type === "updated" && change.old.metadata.generation !== change.object.metadata.generation)
      controller.queue.forget(change.key);
    return [change.key];
  });
  controller.follow(caches.services, (change) => {
    if (change.type === "deleted") memories.find(change.key)?.service.forget(change.key);
    return caches.adapters.get(change.key) === undefined ? [] : [change.key];
  });
  controller.follow(caches.slices, (change) => {
    const key = serviceKeyOf(change.object ?? change.old);
    if (change.type === "deleted") memories.find(key)?.slices.forget(change.key);
    return caches.adapters.get(key) === undefined ? [] : [key];
  });
  controller.follow(caches.pods, (change) => {
    if (!matters(change)) return [];
    followPod(change, agents);
    if (change.type === "deleted") calls.forgetPod(change.old.metadata.uid ?? "");
    return concerned(change, caches, placements);
  });
  return controller;
}

/** After a restart: where the adapter was placed counts in the choice for others. */
function remember(adapter: ModelAdapterObject, key: string, { placements }: ReconcileDeps): void {
  if (placements.podsOf(key) !== undefined) return;
  placements.set(
    key,
    (adapter.status?.instances ?? []).map((name) => `${adapter.metadata.namespace}/${name}`),
  );
}

function followPod(change: Change<Pod>, agents: AgentPool): void {
  if (change.type === "deleted") agents.removePod(change.key);
  else agents.setPod(factsOf(change.object));
}

/** The adapters that select a pod, did, or are on it. */
function* concerned(change: Change<Pod>, caches: Caches, placements: ReconcileDeps["placements"]): Iterable<string> {
  const pods = [change.old, change.object].filter((p) => p !== undefined);
  yield* placements.adaptersOn(change.key);
  for (const adapter of caches.adapters.byIndex(BY_NAMESPACE, pods[0]?.metadata.namespace ?? "")) {
    const selected = pods.some((p) => matchesSelector(adapter.spec.podSelector, p.metadata.labels ?? {}));
    if (selected) yield `${adapter.metadata.namespace}/${adapter.metadata.name}`;
  }
}
