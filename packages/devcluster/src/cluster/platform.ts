/** Namespaces of deploy/overlays/dev. */
export const PLATFORM_NAMESPACES: readonly string[] = ["aibrix-system", "aibrix-dev"];
/** Envoy Gateway's own name for the Envoys of the Gateway `aibrix-eg`: of their Deployment, and of the Service that clients talk to. */
export const GATEWAY_ENVOY = { namespace: "envoy-gateway-system", name: "envoy-aibrix-system-aibrix-eg-903790dc" } as const;
/** The Envoy of the overlay dev. */
export const PLAIN_ENVOY = { namespace: "aibrix-system", name: "aibrix-envoy" } as const;
/** Envoy's NodePort in it. */
export const GATEWAY_NODE_PORT = 30_080;
