/** Group, version and kind of the one resource that users write. */
export const GROUP = "model.aibrix.ai";
export const VERSION = "v1alpha1";
export const KIND = "ModelAdapter";
export const PLURAL = "modeladapters";
export const API_VERSION = `${GROUP}/${VERSION}` as const;
/** Where the Kubernetes API has it. */
export const MODEL_ADAPTER_RESOURCE = { group: GROUP, version: VERSION, plural: PLURAL, kind: KIND, namespaced: true } as const;

/** Kept on a ModelAdapter until its weights are unloaded everywhere. */
export const FINALIZER = "adapter.model.aibrix.ai/finalizer";

/** Name of the base model that a pod serves; on a ModelAdapter it repeats the adapter's name. */
export const LABEL_MODEL_NAME = "model.aibrix.ai/name";
/** Port of the engine: on its pod, or on a ModelAdapter for pods that do not say it; `enginePort` holds the rule. */
export const LABEL_MODEL_PORT = "model.aibrix.ai/port";
/** `"false"` on a pod excludes it from every adapter; absent means enabled. */
export const LABEL_ADAPTER_ENABLED = "adapter.model.aibrix.ai/enabled";
/** Kind of the engine in the pod; {@link DEFAULT_ENGINE} where it is absent. */
export const LABEL_ENGINE = "model.aibrix.ai/engine";

/** On a pod: the engine's `--max-lora-rank`, where its arguments do not tell it. */
export const LABEL_MAX_LORA_RANK = "model.aibrix.ai/max-lora-rank";
/** On a pod: the engine's `--max-loras`, where its arguments do not tell it. */
export const LABEL_MAX_LORAS = "model.aibrix.ai/max-loras";
/** On a pod: the engine's `--max-cpu-loras`, where its arguments do not tell it. */
export const LABEL_MAX_CPU_LORAS = "model.aibrix.ai/max-cpu-loras";

/** Who writes the Services and EndpointSlices of adapters and of {@link ENGINES_SERVICE}: value of their `managed-by` labels. */
export const CONTROLLER_MANAGER = "aibrix-controller-manager";
/** On an EndpointSlice: the Service that it belongs to, which has the ModelAdapter's name. */
export const LABEL_SERVICE_NAME = "kubernetes.io/service-name";
/** On an EndpointSlice: who writes it. */
export const LABEL_SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
/** Namespace of the programs, and of {@link ENGINES_SERVICE}, where nothing else is said. */
export const SYSTEM_NAMESPACE = "aibrix-system";
/** The Service whose slices hold every address of an engine that Envoy may connect to; it is no adapter's. */
export const ENGINES_SERVICE = "aibrix-engines";
/** Selects the EndpointSlices of adapters. */
export const ADAPTER_SLICES = `${LABEL_SLICE_MANAGED_BY}=${CONTROLLER_MANAGER},${LABEL_SERVICE_NAME}!=${ENGINES_SERVICE}` as const;
/** Selects the EndpointSlices of {@link ENGINES_SERVICE}. */
export const ENGINES_SLICES = `${LABEL_SLICE_MANAGED_BY}=${CONTROLLER_MANAGER},${LABEL_SERVICE_NAME}=${ENGINES_SERVICE}` as const;
/** Name of the sidecar's container. */
export const RUNTIME_CONTAINER = "aibrix-runtime";

export const DEFAULT_ENGINE_PORT = 8000;
export const DEFAULT_RUNTIME_PORT = 8080;
export const DEFAULT_ENGINE = "vllm";

/** Key of `additionalConfig` that holds the engine's API key. */
export const CONFIG_API_KEY = "api-key";

/** On a Secret: the hosts that its contents may be sent to. `allowed-hosts.ts` holds the rule. */
export const ANNOTATION_ALLOWED_HOSTS = "model.aibrix.ai/allowed-hosts";

/** On a ModelAdapter: the digest that its content must have, as a pin at the end of `artifactURL` says it. `pin-annotation.ts` holds the rule. */
export const ANNOTATION_ARTIFACT_SHA256 = "model.aibrix.ai/artifact-sha256";

/** On a ModelAdapter: `"off"` lets it serve once the engine lists it, without a request of one token under its name. */
export const ANNOTATION_PROBE = "adapter.model.aibrix.ai/probe";

/** On a ModelAdapter: another value than before resolves the reference of its `artifactURL` again, and serves what it leads to by then. */
export const ANNOTATION_REFRESH = "adapter.model.aibrix.ai/refresh";

/** On a ModelAdapter: another value than before lets a canary go on to its next step at once. */
export const ANNOTATION_PROMOTE = "adapter.model.aibrix.ai/promote";

/** On a ModelAdapter: another value than before ends the update that goes on, and brings the old content back. */
export const ANNOTATION_ABORT = "adapter.model.aibrix.ai/abort";

/** Keys that a Secret named by `credentialsSecretRef` may hold. */
export const SECRET_KEYS = {
  awsAccessKeyId: "aws_access_key_id",
  awsSecretAccessKey: "aws_secret_access_key",
  awsSessionToken: "aws_session_token",
  awsRegion: "aws_region",
  awsEndpointUrl: "aws_endpoint_url",
  huggingfaceToken: "huggingface_token",
  gcpServiceAccountJson: "gcp_service_account_json",
  httpBearerToken: "http_bearer_token",
  httpUsername: "http_username",
  httpPassword: "http_password",
} as const;

/** Header by which the gateway tells Envoy the pods to try, in order: `ip:port[,ip:port…]` (Gateway API Inference Extension). */
export const HEADER_DESTINATION = "x-gateway-destination-endpoint";

/** Header of an answer: how often Envoy sent the request to an engine. */
export const HEADER_ATTEMPTS = "x-gateway-attempts";
/** Header in which Envoy tells the gateway the model that it found in a JSON body, percent-encoded. Nobody else can set it. */
export const HEADER_MODEL_PEEK = "x-gateway-model-peek";
/** Request header that chooses the namespace where two hold the same model name. */
export const HEADER_MODEL_NAMESPACE = "model-namespace";
/**
 * How often Envoy tries a request again: on a refused connection, and on an engine's 404 or 503. The gateway names one address
 * more than this, because a shorter list ends at any engine of the cluster.
 */
export const ENVOY_RETRIES = 5;
/**
 * Label of EndpointSlices of {@link ENGINES_SERVICE}: the one namespace that their controller looks at. Absent where it looks at all. Several
 * such controllers keep their slices apart by it.
 */
export const LABEL_WATCHED_NAMESPACE = "model.aibrix.ai/watched-namespace";

/**
 * On an EndpointSlice of an adapter: the pods that it lists have a content on trial, and get this many of a hundred requests, 0 to 100, while others
 * serve the adapter too.
 */
export const ANNOTATION_CANARY_WEIGHT = "adapter.model.aibrix.ai/canary-weight";

/** The value of {@link ANNOTATION_CANARY_WEIGHT}; 0 for what is no such number, so that nobody is sent there by mistake. `undefined` without one. Pure. */
export function canaryWeight(annotation: string | undefined): number | undefined {
  if (annotation === undefined) return undefined;
  const weight = Number(annotation);
  return /^\d{1,3}$/.test(annotation) && weight <= 100 ? weight : 0;
}
