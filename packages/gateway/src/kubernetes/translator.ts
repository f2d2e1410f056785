import { isDeepStrictEqual } from "node:util";
import { ENGINES_SERVICE } from "@aibrix/api";
import type { DeclarationSink, EngineModel, RoutingSink } from "../routing/types.ts";
import { type AdapterFacts, addressOf, type PodFacts, type SliceEntry, type SliceFacts } from "./facts.ts";
import { MultiMap } from "./multi-map.ts";

/** What is told of a pod that cannot take requests. */
const POD_NOT_READY = "its engine's pod is not ready";
/** What is told of a pod that Envoy cannot connect to. */
const NOT_LISTED = `the Service ${ENGINES_SERVICE} does not list its engine's address yet`;
/** What is told of everything while Envoy can connect to nothing. */
const NO_LIST = `the Service ${ENGINES_SERVICE} has no EndpointSlices: the controller, which writes them, is not running or cannot write`;

/**
 * Turns pods, EndpointSlices and ModelAdapters into routes. Pure but for its memory: the routes depend on the objects alone, not on the
 * order in which they came. A change costs what it touches: a pod that becomes ready or stops being it one update, however many adapters
 * are on it; a slice or an adapter the entries of that adapter.
 *
 * A base model is on the pods that are labelled with it. An adapter is on the pods that its slices name, as long as each is a pod that is
 * watched, of that uid, and has that address: a slice may be stale or forged. Nothing is routed to an address that the slices of
 * `aibrix-engines` do not have: Envoy connects to those alone, and takes any of them in the place of another one.
 */
export class ClusterTranslator {
  readonly #sink: RoutingSink & DeclarationSink;
  readonly #pods = new Map<string, PodFacts>();
  readonly #slices = new Map<string, SliceFacts>();
  readonly #adapters = new Map<string, AdapterFacts>();
  /** Keys of an adapter's slices. */
  readonly #slicesOf = new MultiMap();
  /** Keys of the slices that name a pod. */
  readonly #slicesNaming = new MultiMap();
  /** By key of a slice of `aibrix-engines`. */
  readonly #enginesSlices = new Map<string, readonly SliceEntry[]>();
  /** Keys of the slices of `aibrix-engines` that have a place. */
  readonly #listed = new MultiMap();
  /** What the sink was told of an adapter, by pod. */
  readonly #placed = new Map<string, Map<string, EngineModel>>();

  constructor(sink: RoutingSink & DeclarationSink) {
    this.#sink = sink;
  }

  /**
   * @param key - `namespace/name`
   * @param next - `undefined` where the pod is gone
   */
  pod(key: string, next: PodFacts | undefined): void {
    const old = this.#pods.get(key);
    if (isDeepStrictEqual(old, next)) return;
    if (next === undefined) this.#pods.delete(key);
    else this.#pods.set(key, next);
    const base = old && baseModel(old);
    const nextBase = next && baseModel(next);
    if (base !== undefined && base.id !== nextBase?.id) this.#sink.update(key, { type: "withdrawn", id: base.id });
    if (next !== undefined) this.#tellEngine(key, next);
    if (!isDeepStrictEqual(identity(old), identity(next))) for (const adapter of this.#adaptersNaming(key)) this.#place(adapter);
    // After the adapters: one of them may have had the name that is now the base model's.
    if (nextBase !== undefined && !isDeepStrictEqual(base, nextBase)) this.#sink.update(key, { type: "model", model: nextBase });
    if (next === undefined) this.#sink.remove(key);
  }

  /**
   * @param key - `namespace/name`
   * @param next - `undefined` where the slice is gone
   */
  slice(key: string, next: SliceFacts | undefined): void {
    const old = this.#slices.get(key);
    if (isDeepStrictEqual(old, next)) return;
    if (old !== undefined) {
      this.#slicesOf.delete(old.adapter, key);
      for (const { pod } of old.entries) this.#slicesNaming.delete(pod, key);
    }
    if (next === undefined) {
      this.#slices.delete(key);
    } else {
      this.#slices.set(key, next);
      this.#slicesOf.add(next.adapter, key);
      for (const { pod } of next.entries) this.#slicesNaming.add(pod, key);
    }
    for (const adapter of new Set([old?.adapter, next?.adapter])) if (adapter !== undefined) this.#place(adapter);
  }

  /**
   * @param key - `namespace/name`
   * @param next - `undefined` where the ModelAdapter is gone
   */
  adapter(key: string, next: AdapterFacts | undefined): void {
    const old = this.#adapters.get(key);
    if (isDeepStrictEqual(old, next)) return;
    if (next === undefined) {
      this.#adapters.delete(key);
      this.#sink.retract(key);
    } else {
      this.#adapters.set(key, next);
      this.#declare(key, next);
    }
    this.#place(key);
  }

  /**
   * @param key - `namespace/name` of a slice of `aibrix-engines`
   * @param next - `undefined` where the slice is gone
   */
  enginesSlice(key: string, next: readonly SliceEntry[] | undefined): void {
    const old = this.#enginesSlices.get(key);
    if (isDeepStrictEqual(old, next)) return;
    const places = new Map([...(old ?? []), ...(next ?? [])].map((entry) => [placeOf(entry), entry]));
    const before = new Set([...places.keys()].filter((place) => this.#listed.has(place)));
    const hadSome = this.#enginesSlices.size > 0;
    for (const entry of old ?? []) this.#listed.delete(placeOf(entry), key);
    for (const entry of next ?? []) this.#listed.add(placeOf(entry), key);
    if (next === undefined) this.#enginesSlices.delete(key);
    else this.#enginesSlices.set(key, next);
    const changed = [...places].flatMap(([place, entry]) => (this.#listed.has(place) === before.has(place) ? [] : [entry]));
    if (hadSome !== this.#enginesSlices.size > 0) this.#tellAll();
    else for (const entry of changed) this.#tellEntry(entry);
    const adapters = changed.flatMap((entry) => (this.#isOwn(entry) ? [] : [...this.#adaptersNaming(entry.pod)]));
    for (const adapter of new Set(adapters)) this.#place(adapter);
  }

  /** After the first slice of `aibrix-engines` came, or the last one went: every reason is another one. */
  #tellAll(): void {
    for (const [key, pod] of this.#pods) this.#tellEngine(key, pod);
    for (const [key, adapter] of this.#adapters) this.#declare(key, adapter);
  }

  #tellEntry(entry: SliceEntry): void {
    const pod = this.#pods.get(entry.pod);
    if (pod?.ready && this.#isOwn(entry)) this.#tellEngine(entry.pod, pod);
  }

  #tellEngine(key: string, pod: PodFacts): void {
    const address = engineAddress(pod);
    this.#sink.update(key, { type: "engine", address, notReady: this.#whyNot(key, pod.ready, address) });
  }

  #whyNot(pod: string, ready: boolean, address: string | undefined): string | undefined {
    if (this.#enginesSlices.size === 0) return NO_LIST;
    if (!ready) return POD_NOT_READY;
    return this.#listed.has(`${pod} ${address}`) ? undefined : NOT_LISTED;
  }

  #declare(key: string, adapter: AdapterFacts): void {
    const notServing = this.#enginesSlices.size === 0 ? NO_LIST : adapter.why;
    this.#sink.declare(key, { ...adapterModel(adapter), notServing, ...(adapter.swapping ? { swapping: true } : {}) });
  }

  /** Whether this is the pod's own address, which counts for all that is on the pod. */
  #isOwn({ pod, ip, port }: SliceEntry): boolean {
    const facts = this.#pods.get(pod);
    return facts !== undefined && engineAddress(facts) === addressOf(ip, port);
  }

  #adaptersNaming(pod: string): Set<string> {
    return new Set([...this.#slicesNaming.get(pod)].flatMap((slice) => this.#slices.get(slice)?.adapter ?? []));
  }

  /** Tells the sink where an adapter is, where that differs from what it was told. */
  #place(key: string): void {
    const placed = this.#placed.get(key) ?? new Map<string, EngineModel>();
    const wanted = this.#wanted(key);
    for (const [pod, { id }] of placed) if (!wanted.has(pod)) this.#sink.update(pod, { type: "withdrawn", id });
    for (const [pod, model] of wanted) {
      if (!isDeepStrictEqual(placed.get(pod), model)) this.#sink.update(pod, { type: "model", model });
    }
    if (wanted.size === 0) this.#placed.delete(key);
    else this.#placed.set(key, wanted);
  }

  /** The pods that an adapter is on, each once: of several addresses the one that comes first on the pod. */
  #wanted(key: string): Map<string, EngineModel> {
    const wanted = new Map<string, EngineModel>();
    const adapter = this.#adapters.get(key);
    if (adapter === undefined) return wanted;
    const best = new Map<string, SliceEntry>();
    /** Of pods with a content on trial. One that another slice lists too, for a moment, has it already or has it still. */
    const weights = new Map<string, number>();
    for (const slice of this.#slicesOf.get(key)) {
      const { entries = [], canaryWeight } = this.#slices.get(slice) ?? {};
      for (const entry of entries) {
        const pod = this.#pods.get(entry.pod);
        // What the engine has under its base model's name is the base model.
        if (pod === undefined || !isOn(entry, pod) || pod.baseModel === adapter.name) continue;
        if (!this.#isOwn(entry) && !this.#listed.has(placeOf(entry))) continue;
        const other = best.get(entry.pod);
        if (other === undefined || comesBefore(entry, other, pod)) best.set(entry.pod, entry);
        if (canaryWeight !== undefined) weights.set(entry.pod, canaryWeight);
      }
    }
    // Mostly one object for all pods: there may be many pods for each of many adapters.
    const models = new Map<string, EngineModel>();
    for (const [podKey, { ip, port }] of best) {
      const pod = this.#pods.get(podKey);
      const weight = weights.get(podKey);
      const kind = `${weight} ${pod?.baseModel}`;
      const model = models.get(kind) ?? adapterModel(adapter, pod?.baseModel, weight);
      models.set(kind, model);
      const address = addressOf(ip, port);
      wanted.set(podKey, pod !== undefined && address === engineAddress(pod) ? model : { ...model, address });
    }
    return wanted;
  }
}

/** A pod at an address. */
function placeOf({ pod, ip, port }: SliceEntry): string {
  return `${pod} ${addressOf(ip, port)}`;
}

/** What of a pod decides how the adapters on it are entered. */
function identity(pod: PodFacts | undefined): unknown {
  return pod && [pod.uid, pod.ips, pod.port, pod.baseModel];
}

/** Where a pod's engine answers for its base model, and mostly for all. */
function engineAddress({ ips: [ip], port }: PodFacts): string | undefined {
  return ip === undefined ? undefined : addressOf(ip, port);
}

function isOn(entry: SliceEntry, pod: PodFacts): boolean {
  return entry.podUid === pod.uid && pod.ips.includes(entry.ip);
}

function comesBefore(a: SliceEntry, b: SliceEntry, { ips }: PodFacts): boolean {
  return ips.indexOf(a.ip) - ips.indexOf(b.ip) < 0 || (a.ip === b.ip && a.port < b.port);
}

function baseModel({ baseModel: id, namespace, createdSec }: PodFacts): EngineModel | undefined {
  return id === undefined ? undefined : { id, kind: "base", root: id, namespace, createdSec };
}

function adapterModel(
  { name, namespace, baseModel, createdSec }: AdapterFacts,
  podsBaseModel?: string,
  canaryWeight?: number,
): EngineModel {
  const parent = baseModel ?? podsBaseModel;
  const more = { ...(parent === undefined ? {} : { parent }), ...(canaryWeight === undefined ? {} : { canaryWeight }) };
  return { id: name, kind: "adapter", root: name, ...more, namespace, createdSec };
}
