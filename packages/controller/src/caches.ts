import {
  ADAPTER_SLICES,
  CONTROLLER_MANAGER,
  ENGINES_SLICES,
  LABEL_MODEL_NAME,
  LABEL_SERVICE_NAME,
  LABEL_WATCHED_NAMESPACE,
} from "@aibrix/api";
import {
  ENDPOINT_SLICES,
  type EndpointSlice,
  type KubeClient,
  type KubeObject,
  type Log,
  PODS,
  type Pod,
  Reflector,
  type ReflectorTiming,
  SERVICES,
  type Service,
  Store,
  withoutManagedFields,
} from "@aibrix/kube";
import { ADAPTER_INDEXES } from "./cache/adapter-index.ts";
import { LABEL_MANAGED_BY } from "./endpoints/names.ts";
import { MODEL_ADAPTERS, type ModelAdapterObject } from "./model-adapter/types.ts";
import { baseModelOf } from "./names/holders.ts";
import { trimPod } from "./pods/trim.ts";

/** Index of stores by namespace. */
export const BY_NAMESPACE = "namespace";
/** Index of ModelAdapters by their name. */
export const BY_NAME = "name";
/** Index of pods by the name of their base model. */
export const BY_BASE_MODEL = "baseModel";
/** Index of slices by the key of their Service. */
export const BY_SERVICE = "service";

export interface CacheOptions {
  readonly client: KubeClient;
  /** Only this namespace; all where absent. */
  readonly namespace: string | undefined;
  /** Where `aibrix-engines` lives. */
  readonly systemNamespace: string;
  readonly log: Log;
  readonly timing?: Partial<ReflectorTiming> | undefined;
}

/** Everything that is watched. Secrets are not. */
export class Caches {
  readonly #adapters: Reflector<ModelAdapterObject>;
  readonly #pods: Reflector<Pod>;
  readonly #services: Reflector<Service>;
  readonly #slices: Reflector<EndpointSlice>;
  readonly #engineSlices: Reflector<EndpointSlice>;
  /** Pods that left the watch and live on. */
  readonly left: Store<Pod>;

  constructor({ client, namespace, systemNamespace, log, timing }: CacheOptions) {
    const common = { client, namespace, log, ...(timing === undefined ? {} : { timing }) };
    const byNamespace = (o: KubeObject) => [o.metadata.namespace ?? ""];
    this.left = new Store<Pod>({
      indexes: { [BY_NAMESPACE]: byNamespace },
      onHandlerError: (error) => log.error({ err: error }, "a handler of pods that left the watch failed"),
    });
    const indexes = { ...ADAPTER_INDEXES, [BY_NAME]: (a: KubeObject) => [a.metadata.name] };
    this.#adapters = new Reflector({ ...common, resource: MODEL_ADAPTERS, indexes });
    this.#pods = new Reflector({
      ...common,
      resource: PODS,
      labelSelector: LABEL_MODEL_NAME,
      transform: trimPod,
      indexes: { [BY_NAMESPACE]: byNamespace, [BY_BASE_MODEL]: (p) => [baseModelOf(p) ?? ""] },
    });
    this.#services = new Reflector({ ...common, resource: SERVICES, labelSelector: `${LABEL_MANAGED_BY}=${CONTROLLER_MANAGER}` });
    this.#slices = new Reflector({
      ...common,
      resource: ENDPOINT_SLICES,
      labelSelector: ADAPTER_SLICES,
      transform: withoutManagedFields,
      indexes: { [BY_SERVICE]: (s) => [serviceKeyOf(s)] },
    });
    this.#engineSlices = new Reflector({
      ...common,
      namespace: systemNamespace,
      resource: ENDPOINT_SLICES,
      labelSelector: `${ENGINES_SLICES},${namespace === undefined ? "!" : ""}${LABEL_WATCHED_NAMESPACE}${namespace === undefined ? "" : `=${namespace}`}`,
    });
  }

  get adapters(): Store<ModelAdapterObject> {
    return this.#adapters.store;
  }
  get pods(): Store<Pod> {
    return this.#pods.store;
  }
  /** A pod that is watched, or left the watch and lives on. */
  pod(key: string): Pod | undefined {
    return this.pods.get(key) ?? this.left.get(key);
  }
  /** The pods of a namespace that are watched, and those that left the watch and live on. */
  podsOf(namespace: string): Pod[] {
    const watched = this.pods.byIndex(BY_NAMESPACE, namespace);
    const left = this.left.byIndex(BY_NAMESPACE, namespace);
    return left.length === 0 ? watched : [...watched, ...left.filter((p) => this.pods.get(p.metadata) === undefined)];
  }
  get services(): Store<Service> {
    return this.#services.store;
  }
  get slices(): Store<EndpointSlice> {
    return this.#slices.store;
  }
  get engineSlices(): Store<EndpointSlice> {
    return this.#engineSlices.store;
  }

  /** All of them, for whoever waits until they are filled. */
  get reflectors(): readonly Pick<Reflector<KubeObject>, "synced" | "hasSynced" | "resource" | "state">[] {
    return [this.#adapters, this.#pods, this.#services, this.#slices, this.#engineSlices];
  }

  get hasSynced(): boolean {
    return this.reflectors.every((r) => r.hasSynced);
  }

  /** Watches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#adapters, this.#pods, this.#services, this.#slices, this.#engineSlices].map((r) => r.run(signal)));
  }
}

/** Key of the Service that a slice belongs to, which is the key of its ModelAdapter too. */
export function serviceKeyOf(slice: EndpointSlice): string {
  return `${slice.metadata.namespace}/${slice.metadata.labels?.[LABEL_SERVICE_NAME]}`;
}
