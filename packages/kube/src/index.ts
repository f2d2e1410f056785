export { type BackoffOptions, backoffMs } from "./backoff.ts";
export {
  type ApplyOptions,
  type DeleteOptions,
  KubeClient,
  type KubeClientOptions,
  type ListOptions,
  type ListPage,
  type Selection,
  type Sent,
  type WatchEvent,
  type WatchOptions,
  type WriteOptions,
} from "./client.ts";
export { findCondition, isTrue, type NewCondition, rfc3339, rfc3339Micro, setCondition, truncate } from "./conditions.ts";
export { currentNamespace, type KubeConfigSource, loadKubeConfig } from "./connection.ts";
export { Controller, type ControllerOptions } from "./controller.ts";
export { type ElectionStep, electionStep, type Sighting } from "./election.ts";
export { isRetryable, KubeError, TerminalError } from "./errors.ts";
export { EventRecorder, type EventRecorderOptions, type NewEvent } from "./events.ts";
export { type ElectionOptions, LeaseLostError, runAsLeader } from "./leader.ts";
export { controllerOf, controllerReference, isControlledBy } from "./owner.ts";
export {
  REFLECTOR_TIMING,
  Reflector,
  type ReflectorOptions,
  type ReflectorState,
  type ReflectorTiming,
  withoutManagedFields,
} from "./reflector.ts";
export {
  apiVersionOf,
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  EVENTS,
  keyOf,
  LEASES,
  NAMESPACES,
  type ObjectName,
  PODS,
  type Resource,
  resourcePath,
  SECRETS,
  SERVICES,
  splitKey,
} from "./resource.ts";
export { type Change, type Indexer, Store, type StoreOptions } from "./store.ts";
export { Deadline, DeadlineError, StopNow, sleep } from "./time.ts";
export type { Call, Send, TransportOptions, Verb } from "./transport.ts";
export type {
  Condition,
  ConfigMap,
  Container,
  ContainerPort,
  ContainerStatus,
  Endpoint,
  EndpointPort,
  EndpointSlice,
  EnvVar,
  KubeEvent,
  KubeObject,
  Lease,
  LeaseSpec,
  Log,
  Namespace,
  ObjectMeta,
  ObjectReference,
  OwnerReference,
  Pod,
  Secret,
  Service,
  ServicePort,
  Status,
  VolumeMount,
} from "./types.ts";
export {
  type Done,
  type Outcome,
  type Result,
  type Urgency,
  WORKQUEUE_BACKOFF,
  type Work,
  Workqueue,
  type WorkqueueOptions,
} from "./workqueue.ts";
