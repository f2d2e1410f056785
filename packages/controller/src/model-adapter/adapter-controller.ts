import { type Change, Controller, type Done, keyOf, type Log, type Pod, splitKey } from "@aibrix/kube";
import { isRecorded, recordedOn, selecting } from "../cache/adapter-index.ts";
import { BY_NAME, type Caches, serviceKeyOf } from "../caches.ts";
import { matters } from "../endpoints/engines-controller.ts";
import type { AgentPool } from "../engines/pool.ts";
import type { PodWithLeftovers } from "../leftovers/leftovers.ts";
import { baseModelOf } from "../names/holders.ts";
import type { PodFacts } from "../pods/facts.ts";
import { LeftPods } from "../pods/left.ts";
import { factsOf } from "../pods/trim.ts";
import { type ReconcileDeps, reconcile } from "./reconcile.ts";
import type { ModelAdapterObject } from "./types.ts";

export interface AdapterControllerOptions {
  readonly deps: ReconcileDeps & { readonly caches: Caches };
  readonly workers: number;
  readonly log: Log;
  readonly onReconcile: (done: Done) => void;
  readonly signal: AbortSignal;
}

/** How often every adapter is looked at although nothing happened, in milliseconds. */
const RESYNC_MS = 600_000;
/** How long changes of pods are gathered that only change how many an adapter could be on, in milliseconds: pods come and go in crowds. */
const COUNT_AFTER_MS = 1_000;

/** Queues adapters for every change that concerns them, and reconciles them. */
export function adapterController({ deps, workers, log, onReconcile, signal }: AdapterControllerOptions): Controller {
  const { caches, memories, placements, agents, calls } = deps;
  /** What is asked about pods that statuses name, after a restart: no adapter is decided about before. */
  const looked = new Map<string, Promise<void>>();
  const controller = new Controller({
    name: "modeladapter",
    workers,
    reconcile: async (key, signal) => {
      await looked.get(key);
      return await reconcile(key, deps, signal);
    },
    reflectors: caches.reflectors,
    resync: { everyMs: RESYNC_MS, keys: () => caches.adapters.keys() },
    log,
    onReconcile,
  });
  const { leftovers } = deps;
  const forgetPod = (pod: Pod) => {
    agents.removePod(keyOf(pod));
    calls.forgetPod(pod.metadata.uid ?? "");
    deps.overcommitment.forgetPod(pod.metadata.uid ?? "");
    leftovers.forgetPod(pod.metadata.uid ?? "", signal);
  };
  const left = new LeftPods({
    client: deps.client,
    store: caches.left,
    holds: (pod) => isRecorded(caches.adapters, pod) || leftovers.has(pod.metadata.uid ?? ""),
    onKnown: (pod, alive) => {
      if (!alive) forgetPod(pod);
      queueConcerned({ type: "deleted", key: keyOf(pod), old: pod }, controller, caches, placements);
    },
    log,
    signal,
  });
  controller.follow(caches.adapters, (change) => {
    if (change.type === "deleted") memories.find(change.key)?.adapter.forget(change.key);
    if (change.type === "added") {
      remember(change.object, change.key, deps);
      const strangers = unwatched(change.object, caches).map((pod) => left.look(pod));
      if (strangers.length > 0)
        looked.set(
          change.key,
          Promise.all(strangers).then(() => void looked.delete(change.key)),
        );
    }
    if (change.type === "updated" && change.old.metadata.generation !== change.object.metadata.generation)
      controller.queue.forget(change.key);
    // Who comes or goes may change who holds the name.
    return change.type === "updated" ? [change.key] : [change.key, ...namedLike(splitKey(change.key).name, caches)];
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
  caches.pods.onChange((change) => {
    if (!matters(change)) return;
    // Deleted, or without its label: that is asked first. What is ending anyway is not held.
    if (change.type === "deleted" && change.old.metadata.deletionTimestamp === undefined) {
      left.left(change.old);
      return;
    }
    if (change.type === "deleted") forgetPod(change.old);
    else {
      const had = left.back(change.key);
      if (had !== undefined && had.metadata.uid !== change.object.metadata.uid) {
        calls.forgetPod(had.metadata.uid ?? "");
        leftovers.forgetPod(had.metadata.uid ?? "", signal);
      }
      agents.setPod(factsOf(change.object));
      if (change.type === "updated") doubtEngine(factsOf(change.old), factsOf(change.object), agents);
    }
    queueConcerned(change, controller, caches, placements);
  });
  const sweepLeft = (pod: PodWithLeftovers) => {
    const { namespace = "" } = splitKey(pod.key);
    const isThere = () => caches.pod(pod.key)?.metadata.uid === pod.uid;
    const sweep = () => pod.names.forEach((name) => void controller.queue.add(`${namespace}/${name}`));
    if (isThere()) sweep();
    else
      void left.look({ namespace, name: splitKey(pod.key).name, uid: pod.uid }).then((said) => {
        if (isThere()) sweep();
        else if (said) leftovers.forgetPod(pod.uid, signal);
      });
  };
  leftovers.pods().forEach(sweepLeft);
  leftovers.onLate(sweepLeft);
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

/** Pods that have an adapter by its status, and that the watch does not have. */
function unwatched({ metadata, status }: ModelAdapterObject, caches: Caches): { namespace: string; name: string; uid: string }[] {
  const namespace = metadata.namespace ?? "";
  return (status?.pods ?? []).flatMap(({ name, uid }) =>
    uid === undefined || caches.pod(`${namespace}/${name}`)?.metadata.uid === uid ? [] : [{ namespace, name, uid }],
  );
}

/** Keys of the adapters of a name, in all namespaces. */
function namedLike(name: string, caches: Caches): Iterable<string> {
  return caches.adapters.keysByIndex(BY_NAME, name);
}

/** A container that was started anew, or that is ready again, may be another engine than the one that was looked at. */
function doubtEngine(before: PodFacts, now: PodFacts, agents: AgentPool): void {
  if (before.engineStartedMs !== undefined && before.engineStartedMs !== now.engineStartedMs)
    agents.doubt(now.key, "the engine's container was started anew: its list of models is asked for");
  else if (now.ready && !before.ready) agents.doubt(now.key, "the pod has become ready again: the engine's list of models is asked for");
}

/**
 * Queues the adapters that a pod's change concerns: at once those that are on it, may want to be, or have its base model's name, later those
 * that have their replicas on other pods, and only count it. With a thousand of these the few that lost a pod would wait for all.
 */
function queueConcerned(change: Change<Pod>, { queue }: Controller, caches: Caches, placements: ReconcileDeps["placements"]): void {
  const pods = [change.old, change.object].filter((p) => p !== undefined);
  const here = new Set([...placements.adaptersOn(change.key), ...recordedOn(caches.adapters, pods)]);
  for (const base of new Set(pods.map(baseModelOf))) if (base !== undefined) for (const key of namedLike(base, caches)) here.add(key);
  for (const key of here) queue.add(key);
  for (const { metadata, spec } of selecting(caches.adapters, pods)) {
    const key = keyOf({ metadata });
    if (here.has(key)) continue;
    const settled = spec.replicas !== undefined && (placements.podsOf(key)?.length ?? 0) >= spec.replicas;
    if (settled) queue.addAfter(key, COUNT_AFTER_MS, "canWait");
    else queue.add(key);
  }
}
