/** Namespaces of deploy/overlays/dev. */
export const PLATFORM_NAMESPACES: readonly string[] = ["aibrix-system", "aibrix-dev"];
/** Envoy Gateway's own name for the Envoys of the Gateway `aibrix-eg`: of their Deployment, and of the Service that clients talk to. */
export const GATEWAY_ENVOY = { namespace: "envoy-gateway-system", name: "envoy-aibrix-system-aibrix-eg-903790dc" } as const;
/** Of the Gateway's listener, and so of that Service. */
export const GATEWAY_PORT = 80;
