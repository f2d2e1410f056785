import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ENVOY_RETRIES, HEADER_ATTEMPTS, HEADER_DESTINATION } from "@aibrix/api";
import { ENGINES_CLUSTER, EXT_PROC_CLUSTER } from "./clusters.ts";
import { BUFFER_LIMIT_BYTES, EXT_PROC_TIMEOUT, REQUEST_TIMEOUT, STREAM_IDLE_TIMEOUT } from "./limits.ts";
import { LOCAL_REPLIES } from "./local-reply.ts";
import { extension, type JsonObject, socketAddress } from "./types.ts";

/**
 * Headers that would choose a destination, or change timeouts and retries, had a client sent them: those that this gateway and Envoy read,
 * and one that other gateways of its kind do.
 */
const REMOVED_PREFIXES = ["x-gateway-", "x-envoy-"];
const REMOVED_HEADERS = ["target-pod"];

/** Runs before anything else looks at a request. */
const EARLY_HEADER_MUTATION = extension(
  "envoy.http.early_header_mutation.header_mutation",
  "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
  {
    mutations: [
      ...REMOVED_PREFIXES.map((prefix) => ({ remove_on_match: { key_matcher: { prefix } } })),
      ...REMOVED_HEADERS.map((remove) => ({ remove })),
    ],
  },
);

const RETRY_POLICY: JsonObject = {
  retry_on: "connect-failure,refused-stream,reset-before-request,retriable-status-codes",
  retriable_status_codes: [404, 503],
  num_retries: ENVOY_RETRIES,
  retry_back_off: { base_interval: "0.05s", max_interval: "0.5s" },
  // For the fallback policy alone: override_host takes the next of its list by itself.
  retry_host_predicate: [
    extension("envoy.retry_host_predicates.previous_hosts", "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
  ],
  host_selection_retry_max_attempts: 5,
};

/** Finds the model of most requests without the gateway's seeing their bodies. The same file is in the manifests for Envoy Gateway. */
const MODEL_PEEK = fileURLToPath(new URL("../../../../deploy/envoy-gateway/model-peek.lua", import.meta.url));

function modelPeekFilter(): JsonObject {
  const script = readFileSync(MODEL_PEEK, "utf8");
  return extension("envoy.filters.http.lua", "extensions.filters.http.lua.v3.Lua", { default_source_code: { inline_string: script } });
}

const EXT_PROC_FILTER = extension("envoy.filters.http.ext_proc", "extensions.filters.http.ext_proc.v3.ExternalProcessor", {
  grpc_service: { envoy_grpc: { cluster_name: EXT_PROC_CLUSTER } },
  failure_mode_allow: false,
  message_timeout: EXT_PROC_TIMEOUT,
  processing_mode: {
    // With SKIP the destination would be set too late and ignored.
    request_header_mode: "SEND",
    // The gateway asks for the body (BUFFERED) where the Lua filter found no model in it.
    request_body_mode: "NONE",
    request_trailer_mode: "SKIP",
    response_header_mode: "SKIP",
    response_body_mode: "NONE",
    response_trailer_mode: "SKIP",
  },
  allow_mode_override: true,
  metadata_options: { receiving_namespaces: { untyped: ["envoy.lb"] } },
});

/**
 * A request reaches the engines only with a destination, which only the gateway can set. One for which the gateway was not asked (an HTTP/2
 * request of headers and trailers without a body) ends at the second route.
 */
const ROUTES: JsonObject[] = [
  {
    match: { prefix: "/", headers: [{ name: HEADER_DESTINATION, present_match: true }] },
    route: { cluster: ENGINES_CLUSTER, timeout: "0s", retry_policy: RETRY_POLICY },
    // While a content is on trial the gateway has to know whether an engine of the other one answered.
    response_headers_to_add: [
      { header: { key: HEADER_ATTEMPTS, value: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
    ],
  },
  { match: { prefix: "/" }, direct_response: { status: 400, body: { inline_string: "The request has no body." } } },
];

function accessLog(path: string): JsonObject {
  return extension("envoy.access_loggers.file", "extensions.access_loggers.file.v3.FileAccessLog", {
    path,
    log_format: {
      json_format: {
        time: "%START_TIME%",
        method: "%REQ(:METHOD)%",
        path: "%PATH(NQ:PATH)%",
        status: "%RESPONSE_CODE%",
        details: "%RESPONSE_CODE_DETAILS%",
        flags: "%RESPONSE_FLAGS%",
        attempts: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        engine: "%UPSTREAM_HOST%",
        durationMs: "%DURATION%",
        requestBytes: "%BYTES_RECEIVED%",
        responseBytes: "%BYTES_SENT%",
      },
    },
  });
}

/** The listener of the data path: every request passes the gateway first, then goes to an engine that the gateway named. */
export function listener(port: number, accessLogPath: string | undefined): JsonObject {
  const hcm = extension(
    "envoy.filters.network.http_connection_manager",
    "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    {
      stat_prefix: "aibrix",
      codec_type: "AUTO",
      use_remote_address: true,
      normalize_path: true,
      merge_slashes: true,
      request_headers_timeout: "30s",
      request_timeout: REQUEST_TIMEOUT,
      stream_idle_timeout: STREAM_IDLE_TIMEOUT,
      early_header_mutation_extensions: [EARLY_HEADER_MUTATION],
      http_filters: [
        modelPeekFilter(),
        EXT_PROC_FILTER,
        extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"),
      ],
      local_reply_config: LOCAL_REPLIES,
      ...(accessLogPath === undefined ? {} : { access_log: [accessLog(accessLogPath)] }),
      route_config: {
        name: "aibrix",
        virtual_hosts: [
          {
            name: "aibrix",
            domains: ["*"],
            routes: ROUTES,
          },
        ],
      },
    },
  );
  return {
    name: "aibrix",
    address: socketAddress({ host: "127.0.0.1", port }),
    per_connection_buffer_limit_bytes: BUFFER_LIMIT_BYTES,
    filter_chains: [{ filters: [hcm] }],
  };
}
