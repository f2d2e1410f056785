export const LABEL_MANAGED_BY = "app.kubernetes.io/managed-by";

/** Name of the one port of our Services and slices. */
export const PORT_NAME = "http";
