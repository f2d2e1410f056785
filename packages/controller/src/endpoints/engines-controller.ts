import { isDeepStrictEqual } from "node:util";
import { ENGINES_SERVICE } from "@aibrix/api";
import {
  type Change,
  Controller,
  type Done,
  ENDPOINT_SLICES,
  type EndpointSlice,
  type KubeClient,
  keyOf,
  type Log,
  type Pod,
  type Result,
  SERVICES,
  withoutManagedFields,
} from "@aibrix/kube";
import { OwnWrites } from "../cache/own-writes.ts";
import type { Caches } from "../caches.ts";
import { factsOf } from "../pods/trim.ts";
import { enginesService, hasOtherPorts, planEngines } from "./engines.ts";

export interface EnginesOptions {
  readonly client: KubeClient;
  readonly caches: Caches;
  readonly namespace: string;
  /** The one namespace that is looked at; `undefined` for all. */
  readonly watched: string | undefined;
  readonly log: Log;
  readonly onReconcile: (done: Done) => void;
}

/** How long changes are gathered before they are written, in milliseconds: pods come in crowds. */
const GATHER_MS = 50;
/** How often the Service itself is looked at, in milliseconds: it is not watched. */
const SERVICE_PERIOD_MS = 60_000;

/** Keeps the Service `aibrix-engines` and its slices true. */
export function enginesController({ client, caches, namespace, watched, log, onReconcile }: EnginesOptions): Controller {
  const own = new OwnWrites<EndpointSlice>();
  let serviceSeenMs: number | undefined;

  async function reconcile(_key: string, signal: AbortSignal): Promise<Result> {
    const nowMs = performance.now();
    if (serviceSeenMs === undefined || nowMs - serviceSeenMs >= SERVICE_PERIOD_MS) {
      await client.apply(SERVICES, enginesService(namespace), {}, signal);
      serviceSeenMs = nowMs;
    }
    const cached = new Map([...caches.engineSlices.values()].map((s) => [keyOf(s), s]));
    const existing = [...new Set([...cached.keys(), ...own.keys()])].flatMap((k) => own.latest(k, cached.get(k)) ?? []);
    const changes = planEngines(namespace, watched, [...caches.pods.values()].map(factsOf), caches.slices.values(), existing);
    for (const slice of changes.apply)
      own.wrote(keyOf(slice), withoutManagedFields(await client.apply(ENDPOINT_SLICES, slice, {}, signal)));
    for (const slice of changes.delete) {
      await client.delete(ENDPOINT_SLICES, { namespace, name: slice.metadata.name }, {}, signal);
      own.deleted(keyOf(slice), slice.metadata.uid);
    }
    return { requeueAfterMs: SERVICE_PERIOD_MS };
  }

  const controller = new Controller({ name: "engines", workers: 1, reconcile, reflectors: caches.reflectors, log, onReconcile });
  caches.pods.onChange((change) => {
    if (matters(change)) controller.queue.addAfter(ENGINES_SERVICE, GATHER_MS);
  });
  const podOf = (key: string) => {
    const pod = caches.pods.get(key);
    return pod && factsOf(pod);
  };
  caches.slices.onChange(({ old, object }) => {
    if ([old, object].some((s) => s !== undefined && hasOtherPorts(s, podOf))) controller.queue.addAfter(ENGINES_SERVICE, GATHER_MS);
  });
  caches.engineSlices.onChange((change) => {
    if (change.type === "deleted") own.forget(change.key);
    controller.queue.addAfter(ENGINES_SERVICE, GATHER_MS);
  });
  controller.queue.add(ENGINES_SERVICE);
  return controller;
}

/** Whether anything of a pod changed that is read here. */
export function matters(change: Change<Pod>): boolean {
  return change.type !== "updated" || !isDeepStrictEqual(factsOf(change.old), factsOf(change.object));
}
