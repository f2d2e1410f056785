import type { EndpointSlice, Service } from "@aibrix/kube";
import { OwnWrites } from "../cache/own-writes.ts";
import type { Trials } from "./contents.ts";
import { Asked } from "./pod-changes.ts";
import type { ModelAdapterObject, ObservedPod, Refusal } from "./types.ts";

/** What the process remembers of one adapter beyond the caches. Losing it costs calls, never truth. */
export class AdapterMemory {
  readonly adapter: OwnWrites<ModelAdapterObject> = new OwnWrites();
  readonly service: OwnWrites<Service> = new OwnWrites();
  readonly slices: OwnWrites<EndpointSlice> = new OwnWrites();
  /** Why its Service or slices could not be written, the last time that this was tried. */
  unwritten: string | undefined;
  readonly asked: Asked = new Asked();
  /** What an earlier process wrote down about calls to pods was read. */
  recalled = false;
  /** What was seen of the pods that have the content on its way. */
  trials: Trials | undefined;
  /** Namespaces of the base models that are known not to be reached by the name that they share with it. */
  basesBehind: ReadonlySet<string> = new Set();
  readonly #refusals = new Map<string, Refusal & { readonly fingerprint: string }>();
  /** A Service of its name that is not ours, as last seen. */
  foreign: { readonly owner: string; readonly untilMs: number } | undefined;

  /**
   * Keeps why pods refuse the adapter for reasons of their own; of pods that are not there any more, or that serve it after all, nothing is kept.
   */
  keepRefusals(
    pods: readonly ObservedPod[],
    refusalOf: (pod: ObservedPod) => Refusal | undefined,
    serves: (pod: ObservedPod) => boolean,
  ): void {
    const there = new Set(pods.map((p) => p.facts.uid));
    for (const uid of this.#refusals.keys()) if (!there.has(uid)) this.#refusals.delete(uid);
    for (const pod of pods) {
      if (serves(pod)) this.#refusals.delete(pod.facts.uid);
      const refusal = refusalOf(pod);
      if (refusal !== undefined) this.#refusals.set(pod.facts.uid, { ...refusal, fingerprint: pod.refusalFingerprint });
    }
  }

  /** Takes over why a pod refused what had this fingerprint. */
  recallRefusal(podUid: string, refusal: Refusal, fingerprint: string): void {
    this.#refusals.set(podUid, { ...refusal, fingerprint });
  }

  /** Why a pod refused what would be asked of it now. */
  refusal(podUid: string, fingerprint: () => string): Refusal | undefined {
    const refusal = this.#refusals.get(podUid);
    return refusal !== undefined && refusal.fingerprint === fingerprint() ? refusal : undefined;
  }
}

/** The memories of all adapters, by key. */
export class Memories {
  readonly #of = new Map<string, AdapterMemory>();

  of(key: string): AdapterMemory {
    let memory = this.#of.get(key);
    if (memory === undefined) {
      memory = new AdapterMemory();
      this.#of.set(key, memory);
    }
    return memory;
  }

  /** Only where there is one already. */
  find(key: string): AdapterMemory | undefined {
    return this.#of.get(key);
  }

  delete(key: string): void {
    this.#of.delete(key);
  }
}
