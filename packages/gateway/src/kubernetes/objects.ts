import {
  ANNOTATION_CANARY_WEIGHT,
  engineContainer,
  LABEL_MODEL_NAME,
  LABEL_MODEL_PORT,
  LABEL_SERVICE_NAME,
  MODEL_ADAPTER_RESOURCE,
  type ModelAdapter,
} from "@aibrix/api";
import type { EndpointSlice, KubeObject, Pod, Resource } from "@aibrix/kube";

/** A ModelAdapter as the API server sends it. */
export type AdapterObject = KubeObject & Pick<ModelAdapter, "spec" | "status">;

export const MODEL_ADAPTERS: Resource<AdapterObject> = MODEL_ADAPTER_RESOURCE;

export const POD_SELECTOR = LABEL_MODEL_NAME;

/** What is kept of a pod: of its spec only the ports of the engine's container, because secrets may stand in the rest. */
export function trimPod(pod: Pod): Pod {
  const { phase, podIP, podIPs, conditions } = pod.status ?? {};
  const engine = engineContainer(pod.spec.containers);
  return {
    metadata: trimMetadata(pod, [LABEL_MODEL_NAME, LABEL_MODEL_PORT]),
    spec: { containers: engine === undefined ? [] : [{ name: engine.name, ports: engine.ports ?? [] }] },
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
  const weight = slice.metadata.annotations?.[ANNOTATION_CANARY_WEIGHT];
  return {
    metadata: {
      ...trimMetadata(slice, [LABEL_SERVICE_NAME]),
      ...(weight === undefined ? {} : { annotations: { [ANNOTATION_CANARY_WEIGHT]: weight } }),
    },
    addressType: slice.addressType,
    endpoints,
    ports: slice.ports ?? [],
  };
}

const CONDITIONS = ["Ready", "Updated"];

/** What is kept of a ModelAdapter: no artifact, no settings, no messages. */
export function trimAdapter(adapter: AdapterObject): AdapterObject {
  const { baseModel } = adapter.spec;
  const { phase, conditions, update } = adapter.status ?? {};
  return {
    metadata: trimMetadata(adapter, []),
    spec: { podSelector: {}, artifactURL: "", ...(baseModel === undefined ? {} : { baseModel }) },
    status: {
      ...(phase === undefined ? {} : { phase }),
      conditions: (conditions ?? []).filter((c) => CONDITIONS.includes(c.type)).map((c) => ({ ...c, message: "" })),
      ...(update === undefined ? {} : { update: { state: update.state, artifactURL: "", fingerprint: "", startTime: update.startTime } }),
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
