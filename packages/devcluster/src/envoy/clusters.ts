import { isIP } from "node:net";
import { HEADER_DESTINATION } from "@aibrix/api";
import { BUFFER_LIMIT_BYTES, CIRCUIT_BREAKERS, ENGINE_IDLE_TIMEOUT } from "./limits.ts";
import { type Address, extension, type JsonObject, socketAddress, typed } from "./types.ts";

/** Name of the cluster that holds every engine: the set that Envoy may connect to, and nothing else. */
export const ENGINES_CLUSTER = "aibrix-engines";
/** Name of the cluster of the ext_proc service. */
export const EXT_PROC_CLUSTER = "ext_proc";

/** Envoy's `ClusterLoadAssignment`: the addresses of a cluster. */
function loadAssignment(cluster: string, addresses: readonly Address[]): JsonObject {
  return {
    cluster_name: cluster,
    endpoints: [{ lb_endpoints: addresses.map((address) => ({ endpoint: { address: socketAddress(address) } })) }],
  };
}

const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/**
 * The engines. `override_host` takes the pods from the header that the gateway sets, in order, one per try; only hosts of this cluster
 * can be reached by it.
 *
 * @throws Error where a host is not an IP address: the header names addresses, so a name could never be matched
 */
export function enginesCluster(engines: readonly Address[]): JsonObject {
  for (const { host } of engines) {
    if (isIP(host) === 0) throw new Error(`engine host ${JSON.stringify(host)} is not an IP address: resolve it first`);
  }
  return {
    name: ENGINES_CLUSTER,
    type: "STATIC",
    load_assignment: loadAssignment(ENGINES_CLUSTER, engines),
    connect_timeout: "1s",
    per_connection_buffer_limit_bytes: BUFFER_LIMIT_BYTES,
    circuit_breakers: CIRCUIT_BREAKERS,
    load_balancing_policy: {
      policies: [
        {
          typed_extension_config: extension(
            "envoy.load_balancing_policies.override_host",
            "extensions.load_balancing_policies.override_host.v3.OverrideHost",
            {
              override_host_sources: [{ header: HEADER_DESTINATION }],
              fallback_policy: {
                policies: [
                  {
                    typed_extension_config: extension(
                      "envoy.load_balancing_policies.least_request",
                      "extensions.load_balancing_policies.least_request.v3.LeastRequest",
                    ),
                  },
                ],
              },
            },
          ),
        },
      ],
    },
    typed_extension_protocol_options: {
      [HTTP_OPTIONS]: typed("extensions.upstreams.http.v3.HttpProtocolOptions", {
        common_http_protocol_options: { idle_timeout: ENGINE_IDLE_TIMEOUT },
        explicit_http_config: { http_protocol_options: {} },
      }),
    },
  };
}

/**
 * A name of a cluster's DNS is found by the search domains. By default Envoy asks for IPv6 first, and where there is none it asks for the bare
 * name too, which such a DNS hands on to servers that may never answer.
 */
const BY_NAME: JsonObject = { type: "STRICT_DNS", dns_lookup_family: "V4_PREFERRED" };

/** The ext_proc service, over cleartext HTTP/2. */
export function extProcCluster(address: Address): JsonObject {
  return {
    name: EXT_PROC_CLUSTER,
    ...(isIP(address.host) === 0 ? BY_NAME : { type: "STATIC" }),
    connect_timeout: "1s",
    // A buffered body goes to the service as one gRPC message.
    per_connection_buffer_limit_bytes: BUFFER_LIMIT_BYTES,
    circuit_breakers: CIRCUIT_BREAKERS,
    load_assignment: loadAssignment(EXT_PROC_CLUSTER, [address]),
    typed_extension_protocol_options: {
      [HTTP_OPTIONS]: typed("extensions.upstreams.http.v3.HttpProtocolOptions", {
        explicit_http_config: { http2_protocol_options: {} },
      }),
    },
  };
}
