import { isIPv6 } from "node:net";
import {
  ANNOTATION_CANARY_WEIGHT,
  canaryWeight,
  createdSec,
  declaredPort,
  ENGINES_SERVICE,
  engineContainer,
  enginePort,
  LABEL_MODEL_NAME,
  LABEL_SERVICE_NAME,
  type Reason,
} from "@aibrix/api";
import type { EndpointSlice, Pod } from "@aibrix/kube";
import { whyNotServing } from "../openai/reasons.ts";
import type { AdapterObject } from "./objects.ts";

/** Of an adapter that no pod serves, and that pods load. */
const LOADING: Reason = "ModelAdapterLoading";

/** Of the condition Updated, while pods get other content, or their former one back. */
const ROLLING: Reason = "UpdateRolling";

/** How much later than the end of an update it may be seen that nothing serves, in milliseconds: engines' lists are read every so often. */
const SEEN_LATE_MS = 10_000;

/** What matters of an engine's pod. */
export interface PodFacts {
  readonly namespace: string;
  readonly uid: string;
  /** The base model that it says it serves; `undefined` where the label is empty. */
  readonly baseModel: string | undefined;
  /** Its addresses, the first one first. */
  readonly ips: readonly string[];
  /** Of its engine, for the base model. */
  readonly port: number;
  /** It is Ready, and does not end. */
  readonly ready: boolean;
  readonly createdSec: number;
}

/** One entry of a slice: a pod, and where it answers. */
export interface SliceEntry {
  /** `namespace/name` */
  readonly pod: string;
  readonly podUid: string;
  readonly ip: string;
  readonly port: number;
}

/** What matters of an EndpointSlice. */
export interface SliceFacts {
  /** `namespace/name`, which is the Service's too. */
  readonly adapter: string;
  /** Of pods of the slice's own namespace. */
  readonly entries: readonly SliceEntry[];
  /** Of a hundred requests, where these pods have a content on trial. */
  readonly canaryWeight?: number;
}

/** What matters of a ModelAdapter. */
export interface AdapterFacts {
  readonly namespace: string;
  readonly name: string;
  readonly baseModel: string | undefined;
  readonly createdSec: number;
  /** Why it cannot be used while no pod serves it, in fixed words. */
  readonly why: string;
  /** While no pod serves it: whether that is because content takes the place of other content, the new or, once that is given up, the old. */
  readonly swapping: boolean;
}

/** Reads a pod; `undefined` for one that has ended for good, which may lie about for days. Pure. */
export function podFacts({ metadata, spec, status }: Pod): PodFacts | undefined {
  const { phase, podIP, podIPs = [], conditions = [] } = status ?? {};
  if (phase === "Succeeded" || phase === "Failed") return undefined;
  const ips = [...new Set([...podIPs.map((p) => p.ip), ...(podIP === undefined || podIP === "" ? [] : [podIP])])];
  return {
    namespace: metadata.namespace ?? "",
    uid: metadata.uid ?? "",
    baseModel: metadata.labels?.[LABEL_MODEL_NAME] || undefined,
    ips,
    port: enginePort(metadata.labels ?? {}, declaredPort(engineContainer(spec.containers))),
    ready: ips.length > 0 && metadata.deletionTimestamp === undefined && conditions.some((c) => c.type === "Ready" && c.status === "True"),
    createdSec: createdSec(metadata.creationTimestamp),
  };
}

/**
 * Reads a slice; `undefined` where it is no Service's. Pure. An endpoint that names no pod of the slice's own namespace is left out: every
 * slice of an adapter names its pods.
 */
export function sliceFacts(slice: EndpointSlice): SliceFacts | undefined {
  const namespace = slice.metadata.namespace ?? "";
  const service = slice.metadata.labels?.[LABEL_SERVICE_NAME];
  if (service === undefined || slice.addressType === "FQDN") return undefined;
  const entries = entriesOf(slice).filter(({ pod }) => pod.startsWith(`${namespace}/`));
  const weight = canaryWeight(slice.metadata.annotations?.[ANNOTATION_CANARY_WEIGHT]);
  return { adapter: `${namespace}/${service}`, entries, ...(weight === undefined ? {} : { canaryWeight: weight }) };
}

/** Reads a slice of the Service `aibrix-engines`: where Envoy can connect to, whatever the pods' namespaces. Pure. */
export function enginesSliceFacts(slice: EndpointSlice): readonly SliceEntry[] {
  return slice.addressType === "FQDN" ? [] : entriesOf(slice);
}

function entriesOf({ metadata, endpoints, ports }: EndpointSlice): SliceEntry[] {
  const port = ports?.find((p) => p.port !== undefined)?.port;
  return (endpoints ?? []).flatMap(({ addresses: [ip], conditions, targetRef }): SliceEntry[] => {
    if (ip === undefined || port === undefined || conditions?.ready === false || conditions?.terminating === true) return [];
    if (targetRef?.kind !== "Pod" || targetRef.name === undefined) return [];
    const namespace = targetRef.namespace ?? metadata.namespace ?? "";
    return [{ pod: `${namespace}/${targetRef.name}`, podUid: targetRef.uid ?? "", ip, port }];
  });
}

/** Reads a ModelAdapter. Pure. */
export function adapterFacts({ metadata, spec, status }: AdapterObject): AdapterFacts {
  const ready = conditionOf(status, "Ready");
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    baseModel: spec.baseModel || undefined,
    createdSec: createdSec(metadata.creationTimestamp),
    swapping: isSwapping(status),
    why:
      ready?.status === "True"
        ? `no pod that serves it is ready and listed in the Service ${ENGINES_SERVICE}`
        : whyNotServing(status?.phase ?? "Pending", /^\w{1,64}$/.test(ready?.reason ?? "") ? ready?.reason : undefined),
  };
}

function isSwapping(status: AdapterObject["status"]): boolean {
  const ready = conditionOf(status, "Ready");
  const updated = conditionOf(status, "Updated");
  const isLoading = ready?.reason === LOADING;
  // Not where pods are gone, an engine is, or the content was refused: that may last.
  if (ready?.status !== "True" && !isLoading) return false;
  const state = status?.update?.state;
  if (state === "Swapping" || updated?.reason === ROLLING) return true;
  if (!isLoading || state === "Preparing" || updated === undefined) return false;
  // The update was given up, or taken back, while nothing served: what served before comes back. Where something served since, that went
  // for another reason, and may be away for long.
  return Date.parse(ready.lastTransitionTime) <= Date.parse(updated.lastTransitionTime) + SEEN_LATE_MS;
}

function conditionOf(status: AdapterObject["status"], type: string) {
  return status?.conditions?.find((c) => c.type === type);
}

/** `ip:port` as Envoy writes it. */
export function addressOf(ip: string, port: number): string {
  return isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`;
}
