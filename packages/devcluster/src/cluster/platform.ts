/** Namespaces of deploy/overlays/dev. */
export const PLATFORM_NAMESPACES: readonly string[] = ["aibrix-system", "aibrix-dev"];
/** Envoy's NodePort in it. */
export const GATEWAY_NODE_PORT = 30_080;
