import { GROUP, KIND, LABEL_MODEL_NAME, LABEL_MODEL_PORT, type ModelAdapter, PLURAL, VERSION } from "@aibrix/api";
import type { EndpointSlice, KubeObject, Pod, Resource } from "@aibrix/kube";

/** A ModelAdapter as the API server sends it. */
export type AdapterObject = KubeObject & Pick<ModelAdapter, "spec" | "status">;

export const MODEL_ADAPTERS: Resource<AdapterObject> = { group: GROUP, version: VERSION, plural: PLURAL, kind: KIND, namespaced: true };

export const LABEL_SERVICE_NAME = "kubernetes.io/service-name";
const LABEL_SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
/** Who writes the slices of adapters. */
const CONTROLLER = "aibrix-controller-manager";
/** The Service of all engines, for Envoy: it is no adapter's. */
const ENGINES_SERVICE = "aibrix-engines";

export const POD_SELECTOR = LABEL_MODEL_NAME;
export const SLICE_SELECTOR = `${LABEL_SLICE_MANAGED_BY}=${CONTROLLER},${LABEL_SERVICE_NAME}!=${ENGINES_SERVICE}`;

/** What is kept of a pod: nothing of its spec, where secrets may stand. */
export function trimPod(pod: Pod): Pod {
  const { phase, podIP, podIPs, conditions } = pod.status ?? {};
  return {
    metadata: trimMetadata(pod, [LABEL_MODEL_NAME, LABEL_MODEL_PORT]),
    spec: { containers: [] },
    status: {
      ...(phase === undefined ? {} : { phase }),
      ...(podIP === undefined ? {} : { podIP }),
      ...(podIPs === undefined ? {} : { podIPs }),
      conditions: conditions?.filter((c) => c.type === "Ready") ?? [],
    },
  };
}

/** What is kept of an EndpointSlice. */
export function trimSlice(slice: EndpointSlice): EndpointSlice {
  const endpoints = (slice.endpoints ?? []).map(({ addresses, conditions, targetRef }) => ({
    addresses,
    ...(conditions === undefined ? {} : { conditions }),
    ...(targetRef === undefined ? {} : { targetRef }),
  }));
  return {
    metadata: trimMetadata(slice, [LABEL_SERVICE_NAME]),
    addressType: slice.addressType,
    endpoints,
    ports: slice.ports ?? [],
  };
}

/** What is kept of a ModelAdapter: no artifact, no settings, no messages. */
export function trimAdapter(adapter: AdapterObject): AdapterObject {
  const { baseModel } = adapter.spec;
  const { phase, conditions } = adapter.status ?? {};
  return {
    metadata: trimMetadata(adapter, []),
    spec: { podSelector: {}, artifactURL: "", ...(baseModel === undefined ? {} : { baseModel }) },
    status: {
      ...(phase === undefined ? {} : { phase }),
      conditions: (conditions ?? []).filter((c) => c.type === "Ready").map((c) => ({ ...c, message: "" })),
    },
  };
}

function trimMetadata({ metadata }: KubeObject, labels: readonly string[]): KubeObject["metadata"] {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp } = metadata;
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    labels: Object.fromEntries(
      labels.flatMap((label) => (metadata.labels?.[label] === undefined ? [] : [[label, metadata.labels[label]]])),
    ),
  };
}
