export {
  ARTIFACT_SCHEMES,
  ARTIFACT_URL_HINT,
  ARTIFACT_URL_MAX_LENGTH,
  type ArtifactScheme,
  type ArtifactSource,
  ArtifactUrlError,
  parseArtifactUrl,
} from "./artifact-url.ts";
export { CONDITION_TYPES, REASONS, type Reason } from "./conditions.ts";
export { modelAdapterCrd } from "./crd.ts";
export {
  API_VERSION,
  CONFIG_API_KEY,
  DEFAULT_ENGINE,
  DEFAULT_ENGINE_PORT,
  DEFAULT_RUNTIME_PORT,
  ENVOY_RETRIES,
  FINALIZER,
  GROUP,
  HEADER_DESTINATION,
  HEADER_MODEL_NAMESPACE,
  KIND,
  LABEL_ADAPTER_ENABLED,
  LABEL_ENGINE,
  LABEL_MODEL_NAME,
  LABEL_MODEL_PORT,
  PLURAL,
  SECRET_KEYS,
  VERSION,
} from "./labels.ts";
export {
  ADAPTER_STATES,
  type AdapterState,
  type LabelSelector,
  type ModelAdapter,
  ModelAdapterSchema,
  type ModelAdapterSpec,
  ModelAdapterSpecSchema,
  type ModelAdapterStatus,
  ModelAdapterStatusSchema,
  PHASES,
  type Phase,
  stringEnum,
} from "./model-adapter.ts";
export { modelAdapterReference } from "./reference.ts";
export {
  type AdapterStatus,
  AdapterStatusSchema,
  BOOKMARK_PERIOD_MS,
  type DeliveryRequest,
  DeliverySchema,
  type EngineStatus,
  EngineStatusSchema,
  type ErrorBody,
  ErrorBodySchema,
  type LoadRequest,
  LoadRequestSchema,
  type ManifestProblem,
  ManifestProblemSchema,
  RUNTIME_PATHS,
  type Snapshot,
  SnapshotSchema,
  type UnloadRequest,
  UnloadRequestSchema,
  type WatchEvent,
} from "./runtime-contract.ts";
export { matchesSelector } from "./selector.ts";
export { type Problem, validateModelAdapter } from "./validate.ts";
