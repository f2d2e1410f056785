import { enginesCluster, extProcCluster } from "./clusters.ts";
import { listener } from "./listener.ts";
import { type Address, type JsonObject, socketAddress } from "./types.ts";

/** What an Envoy of the data path needs to know. */
export interface EnvoyOptions {
  /** On 127.0.0.1. */
  readonly listenPort: number;
  /** Port of Envoy's admin interface on 127.0.0.1; none where it is undefined. */
  readonly adminPort: number | undefined;
  /** The gateway's gRPC address. */
  readonly extProc: Address;
  /** Every engine that may be reached, with IP addresses as hosts. */
  readonly engines: readonly Address[];
  /** A file for one JSON line per request, without bodies. */
  readonly accessLogPath?: string;
}

/**
 * Envoy's bootstrap for the data path, in the shape that a cluster's Envoy has too: the gateway reads the request and names the engines,
 * Envoy connects to them and tries again. Write it as JSON or YAML; start Envoy with `--concurrency` as wanted.
 *
 * @throws Error where an engine's host is not an IP address
 */
export function envoyBootstrap(options: EnvoyOptions): JsonObject {
  const { listenPort, adminPort, extProc, engines, accessLogPath } = options;
  return {
    node: { id: "aibrix", cluster: "aibrix" },
    ...(adminPort === undefined ? {} : { admin: { address: socketAddress({ host: "127.0.0.1", port: adminPort }) } }),
    layered_runtime: {
      layers: [
        {
          name: "aibrix",
          static_layer: {
            // Else every ext_proc stream ends with RST_STREAM, and Node's HTTP/2 closes a connection that sees many of them.
            "envoy.reloadable_features.ext_proc_graceful_grpc_close": true,
          },
        },
      ],
    },
    static_resources: {
      listeners: [listener(listenPort, accessLogPath)],
      clusters: [enginesCluster(engines), extProcCluster(extProc)],
    },
  };
}
