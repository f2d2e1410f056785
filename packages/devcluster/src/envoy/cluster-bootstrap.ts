import { SYSTEM_NAMESPACE } from "@aibrix/api";
import { envoyBootstrap } from "./bootstrap.ts";
import type { JsonObject } from "./types.ts";

/**
 * The bootstrap of the Envoy of `deploy/envoy`, for a cluster without Envoy Gateway. Ports, the Service's name and the file's path are those
 * of the manifests beside it.
 */
export function clusterBootstrap(): JsonObject {
  return envoyBootstrap({
    listenHost: "0.0.0.0",
    listenPort: 10_080,
    adminPort: 9901,
    extProc: { host: `aibrix-gateway-plugins.${SYSTEM_NAMESPACE}.svc`, port: 50_052 },
    engines: { file: "/endpoints/engines.json" },
  });
}
