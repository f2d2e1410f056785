/** Who manages what this program makes: field manager, `managed-by` labels, Lease. */
export const MANAGER = "aibrix-controller-manager";

export const LABEL_SERVICE_NAME = "kubernetes.io/service-name";
export const LABEL_SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
export const LABEL_MANAGED_BY = "app.kubernetes.io/managed-by";

/** The Service whose slices hold every engine of the cluster: the set that Envoy may connect to. */
export const ENGINES_SERVICE = "aibrix-engines";

/** Name of the one port of our Services and slices. */
export const PORT_NAME = "http";
