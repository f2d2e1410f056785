import {
  ANNOTATION_CANARY_WEIGHT,
  CONTROLLER_MANAGER,
  LABEL_SERVICE_NAME,
  LABEL_SLICE_MANAGED_BY,
  LABEL_WATCHED_NAMESPACE,
} from "@aibrix/api";
import { controllerOf, type Endpoint, type EndpointSlice, type OwnerReference } from "@aibrix/kube";
import type { PodFacts } from "../pods/facts.ts";
import { PORT_NAME } from "./names.ts";

/** As many as Kubernetes' own controller puts into a slice. */
export const MAX_ENDPOINTS = 100;

/** A pod to list, and the port that answers there. */
export interface Listed {
  readonly pod: PodFacts;
  readonly port: number;
  /** How many of a hundred requests the pods of a content on trial get, all together; absent for the others. */
  readonly weight?: number | undefined;
}

/** The Service that slices belong to. */
export interface SliceOwner {
  readonly namespace: string;
  readonly service: string;
  readonly owner: OwnerReference | undefined;
  /** Port of the one empty slice where nothing is listed. */
  readonly port: number;
  /** Set where other controllers have slices of the Service too: the namespace that this one looks at. */
  readonly watched?: string | undefined;
}

export interface SliceChanges {
  /** To be written as they are. */
  readonly apply: readonly EndpointSlice[];
  readonly delete: readonly EndpointSlice[];
}

type Family = "IPv4" | "IPv6";

interface Group {
  readonly family: Family;
  readonly port: number;
  readonly weight: number | undefined;
  readonly endpoints: Map<string, Endpoint>;
}

/**
 * What to write so that a Service's slices list these pods, each with its port, per address family. Pure.
 * Pods with a content on trial have slices of their own, which say the share of the requests that is theirs.
 * An endpoint stays in the slice that it is in, so that a small change writes one slice; with nothing to list one empty slice is kept.
 *
 * Slices of an earlier owner of the Service's name, which the garbage collector has not come to yet, go: nothing has two controllers.
 *
 * @param existing - the slices of this Service that are ours
 */
export function planSlices(owner: SliceOwner, listed: readonly Listed[], existing: readonly EndpointSlice[]): SliceChanges {
  const groups = group(listed);
  const usable = existing.filter((s) => owner.owner === undefined || [undefined, owner.owner.uid].includes(controllerOf(s)?.uid));
  const taken = new Set(existing.map((s) => s.metadata.name));
  if (groups.length === 0) {
    const kept = [...usable].sort(byName)[0];
    const family = kept === undefined || kept.addressType === "FQDN" ? "IPv4" : kept.addressType;
    const port = portOf(kept) ?? owner.port;
    const empty = slice(
      owner,
      { family, port, weight: undefined },
      kept?.metadata.name ?? freeName(owner, { family, port, weight: undefined }, taken),
      [],
    );
    return { apply: same(kept, empty) ? [] : [empty], delete: existing.filter((s) => s !== kept) };
  }
  const plans = groups.map((g) =>
    planGroup(
      owner,
      g,
      usable.filter((s) => s.addressType === g.family && portOf(s) === g.port && isOnTrial(s) === (g.weight !== undefined)),
      taken,
    ),
  );
  const wanted = plans.flat();
  const names = new Set(wanted.map((s) => s.metadata.name));
  const current = new Map(existing.map((s) => [s.metadata.name, s]));
  return {
    apply: wanted.filter((s) => !same(current.get(s.metadata.name), s)),
    delete: existing.filter((s) => !names.has(s.metadata.name)),
  };
}

/** Uids of the pods that slices list. */
export function listedIn(slices: readonly EndpointSlice[]): Set<string> {
  return new Set(slices.flatMap((s) => (s.endpoints ?? []).flatMap((e) => e.targetRef?.uid ?? [])));
}

/** Uids of the pods that slices list as having a content on trial. */
export function onTrialIn(slices: readonly EndpointSlice[]): Set<string> {
  return listedIn(slices.filter(isOnTrial));
}

function isOnTrial({ metadata }: EndpointSlice): boolean {
  return metadata.annotations?.[ANNOTATION_CANARY_WEIGHT] !== undefined;
}

/** Whether there is nothing to write. */
export function isEmpty(changes: SliceChanges): boolean {
  return changes.apply.length === 0 && changes.delete.length === 0;
}

function group(listed: readonly Listed[]): Group[] {
  const groups = new Map<string, Group>();
  for (const { pod, port, weight } of listed) {
    for (const [family, address] of [
      ["IPv4", pod.ipv4],
      ["IPv6", pod.ipv6],
    ] as const) {
      if (address === undefined) continue;
      const key = `${family} ${port} ${weight !== undefined}`;
      const g = groups.get(key) ?? { family, port, weight, endpoints: new Map() };
      groups.set(key, g);
      g.endpoints.set(pod.uid, endpoint(pod, address));
    }
  }
  return [...groups.values()].sort((a, b) => a.family.localeCompare(b.family) || a.port - b.port || (a.weight ?? -1) - (b.weight ?? -1));
}

function planGroup(owner: SliceOwner, of: Group, existing: readonly EndpointSlice[], taken: Set<string>): EndpointSlice[] {
  const left = new Map(of.endpoints);
  const kept = [...existing].sort(byName).map((s) => {
    const stay = (s.endpoints ?? []).flatMap((e) => {
      const uid = e.targetRef?.uid ?? "";
      const wanted = left.get(uid);
      left.delete(uid);
      return wanted ?? [];
    });
    return { name: s.metadata.name, endpoints: stay };
  });
  for (const s of kept) fill(s.endpoints, left);
  while (left.size > 0) {
    const fresh = { name: freeName(owner, of, taken), endpoints: [] as Endpoint[] };
    taken.add(fresh.name);
    fill(fresh.endpoints, left);
    kept.push(fresh);
  }
  return kept.filter((s) => s.endpoints.length > 0).map((s) => slice(owner, of, s.name, s.endpoints));
}

function fill(endpoints: Endpoint[], left: Map<string, Endpoint>): void {
  for (const [uid, e] of left) {
    if (endpoints.length >= MAX_ENDPOINTS) return;
    endpoints.push(e);
    left.delete(uid);
  }
}

function endpoint(pod: PodFacts, address: string): Endpoint {
  return {
    addresses: [address],
    conditions: { ready: true, serving: true, terminating: false },
    ...(pod.nodeName === undefined ? {} : { nodeName: pod.nodeName }),
    targetRef: { kind: "Pod", namespace: pod.namespace, name: pod.name, uid: pod.uid },
  };
}

function slice(
  { namespace, service, owner, watched }: SliceOwner,
  { family, port, weight }: Omit<Group, "endpoints">,
  name: string,
  endpoints: readonly Endpoint[],
): EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name,
      namespace,
      labels: {
        [LABEL_SERVICE_NAME]: service,
        [LABEL_SLICE_MANAGED_BY]: CONTROLLER_MANAGER,
        ...(watched === undefined ? {} : { [LABEL_WATCHED_NAMESPACE]: watched }),
      },
      ...(weight === undefined ? {} : { annotations: { [ANNOTATION_CANARY_WEIGHT]: `${weight}` } }),
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
    },
    addressType: family,
    endpoints,
    ports: [{ name: PORT_NAME, port, protocol: "TCP" }],
  };
}

function freeName(
  { service, watched }: SliceOwner,
  { family, port, weight }: Omit<Group, "endpoints">,
  taken: ReadonlySet<string>,
): string {
  const prefix = watched === undefined ? service : `${service}-${watched}`;
  const name = (index: number) => `${prefix}-${family.toLowerCase()}-${port}-${weight === undefined ? "" : "canary-"}${index}`;
  let index = 0;
  while (taken.has(name(index))) index++;
  return name(index);
}

function portOf(s: EndpointSlice | undefined): number | undefined {
  return s?.ports?.[0]?.port;
}

/** Whether a slice in the cluster says what it should. */
function same(current: EndpointSlice | undefined, wanted: EndpointSlice): boolean {
  return current !== undefined && JSON.stringify(essence(current)) === JSON.stringify(essence(wanted));
}

function essence(s: EndpointSlice): unknown {
  return [
    s.addressType,
    s.metadata.labels?.[LABEL_SERVICE_NAME],
    s.metadata.labels?.[LABEL_SLICE_MANAGED_BY],
    s.metadata.labels?.[LABEL_WATCHED_NAMESPACE],
    s.metadata.annotations?.[ANNOTATION_CANARY_WEIGHT],
    s.metadata.ownerReferences?.map((o) => o.uid) ?? [],
    (s.ports ?? []).map((p) => [p.name, p.port, p.protocol]),
    (s.endpoints ?? []).map((e) => [
      e.addresses,
      e.conditions?.ready,
      e.conditions?.serving,
      e.conditions?.terminating,
      e.nodeName,
      e.targetRef?.kind,
      e.targetRef?.namespace,
      e.targetRef?.name,
      e.targetRef?.uid,
    ]),
  ];
}

function byName(a: EndpointSlice, b: EndpointSlice): number {
  return a.metadata.name < b.metadata.name ? -1 : 1;
}
