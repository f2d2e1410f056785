import type { ModelAdapterStatus } from "@aibrix/api";
import type { KubeObject } from "@aibrix/kube";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { Adapters } from "./adapters.ts";
import { adapter, type FakePod, type PodOptions, until, World } from "./world.ts";

/*
 * What the tests of a file start from: one control plane for all of them, and where they ask for it a namespace for each. These are live
 * bindings: a test sees what is theirs by then.
 */

export let world: World;
export let adapters: Adapters;
/** The pods that are there, in the order in which they were made. */
export let made: readonly FakePod[] = [];
/** The test's own namespace, and an adapter x in it. */
export let ns = "";
export let key = "";

/** One control plane for the tests of this file. What a file needs besides is made in hooks of its own, which come after. */
export function useWorld(): void {
  beforeAll(async () => {
    world = await World.start();
    adapters = new Adapters(world);
    made = world.made;
  }, 3_600_000);
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
  });
}

/** {@link useWorld}, with a namespace for each test, after which nothing is left but the namespace. */
export function useNamespaces(prefix: string): void {
  useWorld();
  let n = 0;
  beforeEach(async () => {
    ns = `${prefix}-${n++}`;
    key = `${ns}/x`;
    await world.namespace(ns);
  });
  afterEach(async () => {
    await world.clear();
  });
}

/** A pod in the test's namespace. */
export function pod(name: string, options: PodOptions = {}): Promise<FakePod> {
  return world.pod(name, { namespace: ns, ...options });
}

/** A ModelAdapter in the test's namespace. */
export function lora(name: string, spec: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}): KubeObject {
  return adapter(name, spec, { namespace: ns, ...metadata });
}

/** Waits until so many pods serve the test's adapter. */
export function serves(count: number): Promise<ModelAdapterStatus> {
  return until(`${count} serve`, async () => {
    const s = await adapters.status(key);
    return s?.readyReplicas === count && s.served !== undefined ? s : undefined;
  });
}

/** What an adapter says of its last update. */
export function updated(s: ModelAdapterStatus | undefined): NonNullable<ModelAdapterStatus["conditions"]>[number] | undefined {
  return s?.conditions?.find((c) => c.type === "Updated");
}

/** Waits until the test's adapter is through with its update, and serves what is meant. */
export function updatedTo(what: string, isMeant: (s: ModelAdapterStatus) => boolean): Promise<ModelAdapterStatus> {
  return until(what, async () => {
    const s = await adapters.status(key);
    return s !== undefined && isMeant(s) && s.update === undefined && updated(s)?.status === "True" ? s : undefined;
  });
}
