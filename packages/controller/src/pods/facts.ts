import { isIPv4, isIPv6 } from "node:net";
import {
  DEFAULT_ENGINE,
  DEFAULT_RUNTIME_PORT,
  declaredPort,
  engineContainer,
  enginePort as enginePortOf,
  LABEL_ADAPTER_ENABLED,
  LABEL_ENGINE,
  LABEL_MODEL_NAME,
  portOf,
} from "@aibrix/api";
import { keyOf, type Pod } from "@aibrix/kube";
import { flagValue, runtimeContainer } from "./containers.ts";
import { type SaidLimits, saidLimits } from "./limits.ts";

/** What matters of a pod, read once. */
export interface PodFacts {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly nodeName: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Its first address; `undefined` until it has one. */
  readonly ip: string | undefined;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly ready: boolean;
  /** When Ready last changed, in milliseconds since the epoch. */
  readonly readySinceMs: number | undefined;
  /** When the engine's container was started, in milliseconds since the epoch; `undefined` while it does not run, or nobody says. */
  readonly engineStartedMs: number | undefined;
  /** How often the engine's container was started again. */
  readonly engineRestarts: number;
  readonly terminating: boolean;
  /** Ended for good: Succeeded or Failed. */
  readonly finished: boolean;
  /** False where the pod wants no adapters. */
  readonly enabled: boolean;
  readonly engine: string;
  /** Name of the base model that it says it serves. */
  readonly baseModel: string | undefined;
  /** The port that the engine's container declares. */
  readonly containerPort: number | undefined;
  /** Port of the sidecar; `undefined` for a pod without one. */
  readonly runtimePort: number | undefined;
  /** What it says of its engine's limits. */
  readonly limits: SaidLimits;
}

/** Reads a pod. Pure. */
export function podFacts(pod: Pod): PodFacts {
  const { metadata, status } = pod;
  const labels = metadata.labels ?? {};
  const engine = engineContainer(pod.spec.containers);
  const runtime = runtimeContainer(pod);
  const ips = [...(status?.podIPs ?? []).map((p) => p.ip), ...(status?.podIP === undefined ? [] : [status.podIP])];
  const ready = status?.conditions?.find((c) => c.type === "Ready");
  const readySinceMs = Date.parse(ready?.lastTransitionTime ?? "");
  const container = status?.containerStatuses?.find((c) => c.name === engine?.name);
  const started = container?.state?.running?.startedAt;
  return {
    key: keyOf(pod),
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    uid: metadata.uid ?? "",
    nodeName: pod.spec.nodeName,
    labels,
    ip: ips[0],
    ipv4: ips.find((ip) => isIPv4(ip)),
    ipv6: ips.find((ip) => isIPv6(ip)),
    ready: ready?.status === "True",
    readySinceMs: Number.isNaN(readySinceMs) ? undefined : readySinceMs,
    engineStartedMs: started === undefined ? undefined : Date.parse(started),
    engineRestarts: container?.restartCount ?? 0,
    terminating: metadata.deletionTimestamp !== undefined,
    finished: status?.phase === "Succeeded" || status?.phase === "Failed",
    enabled: labels[LABEL_ADAPTER_ENABLED] !== "false",
    engine: labels[LABEL_ENGINE] ?? DEFAULT_ENGINE,
    baseModel: labels[LABEL_MODEL_NAME],
    containerPort: declaredPort(engine),
    runtimePort:
      runtime === undefined ? undefined : (portOf(flagValue(runtime, "--port")) ?? declaredPort(runtime) ?? DEFAULT_RUNTIME_PORT),
    limits: saidLimits(labels, engine),
  };
}

/**
 * Where the engine of a pod answers.
 *
 * @param adapterLabels - labels of the ModelAdapter in question; absent for the base model
 */
export function enginePort({ labels, containerPort }: PodFacts, adapterLabels?: Readonly<Record<string, string>>): number {
  return enginePortOf(labels, containerPort, adapterLabels);
}
