import { CONTROLLER_MANAGER } from "@aibrix/api";
import type { OwnerReference, Service } from "@aibrix/kube";
import { LABEL_MANAGED_BY, PORT_NAME } from "./names.ts";

/**
 * A headless Service without a selector: its slices are ours. Headless, because thousands of ClusterIPs would exhaust a cluster's range.
 * The API server chooses the address families.
 */
export function headlessService(
  name: string,
  namespace: string,
  port: number,
  owner: OwnerReference | undefined,
  labels: Readonly<Record<string, string>> = {},
): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name,
      namespace,
      labels: { ...labels, [LABEL_MANAGED_BY]: CONTROLLER_MANAGER },
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
    },
    spec: { clusterIP: "None", ports: [{ name: PORT_NAME, port, protocol: "TCP", targetPort: port }] },
  };
}

/** Whether a Service in the cluster still is what {@link headlessService} made. */
export function serviceIsRight(current: Service, wanted: Service): boolean {
  const [port, ...more] = current.spec?.ports ?? [];
  const [wantedPort] = wanted.spec?.ports ?? [];
  return (
    more.length === 0 &&
    port?.name === wantedPort?.name &&
    port?.port === wantedPort?.port &&
    port?.targetPort === wantedPort?.targetPort &&
    current.spec?.clusterIP === "None" &&
    Object.keys(current.spec.selector ?? {}).length === 0 &&
    Object.entries(wanted.metadata.labels ?? {}).every(([k, v]) => current.metadata.labels?.[k] === v)
  );
}
