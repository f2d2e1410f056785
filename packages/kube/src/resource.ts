import type { ConfigMap, EndpointSlice, KubeEvent, KubeObject, Lease, Namespace, Pod, Secret, Service } from "./types.ts";

/** A kind of object and where the API server keeps it. `T` is the object's type on the wire. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Carries the type only; never set. */
  readonly object?: T;
}

export const PODS: Resource<Pod> = { group: "", version: "v1", plural: "pods", kind: "Pod", namespaced: true };
export const SERVICES: Resource<Service> = { group: "", version: "v1", plural: "services", kind: "Service", namespaced: true };
export const SECRETS: Resource<Secret> = { group: "", version: "v1", plural: "secrets", kind: "Secret", namespaced: true };
export const CONFIG_MAPS: Resource<ConfigMap> = { group: "", version: "v1", plural: "configmaps", kind: "ConfigMap", namespaced: true };
export const NAMESPACES: Resource<Namespace> = { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false };
export const ENDPOINT_SLICES: Resource<EndpointSlice> = {
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
  kind: "EndpointSlice",
  namespaced: true,
};
export const LEASES: Resource<Lease> = { group: "coordination.k8s.io", version: "v1", plural: "leases", kind: "Lease", namespaced: true };
export const EVENTS: Resource<KubeEvent> = { group: "events.k8s.io", version: "v1", plural: "events", kind: "Event", namespaced: true };

/** `v1` or `apps/v1`, as an object says it. */
export function apiVersionOf(resource: Resource): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** Which object: its namespace (absent for what has none) and its name. */
export interface ObjectName {
  readonly namespace?: string | undefined;
  readonly name: string;
}

/** The path of a collection (without `name`) or of one object on the API server. */
export function resourcePath(
  resource: Resource,
  where: { readonly namespace?: string | undefined; readonly name?: string },
  subresource?: string,
): string {
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const namespace = resource.namespaced && where.namespace !== undefined ? `/namespaces/${encodeURIComponent(where.namespace)}` : "";
  const name = where.name === undefined ? "" : `/${encodeURIComponent(where.name)}`;
  return `${root}${namespace}/${resource.plural}${name}${subresource === undefined ? "" : `/${subresource}`}`;
}

/** `namespace/name`, or the name alone for what has no namespace: the key of an object in stores and queues. */
export function keyOf(object: ObjectName | KubeObject): string {
  const { namespace, name } = "metadata" in object ? object.metadata : object;
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** The reverse of {@link keyOf}. */
export function splitKey(key: string): ObjectName {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
