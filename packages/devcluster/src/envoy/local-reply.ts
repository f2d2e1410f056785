import { BUFFER_LIMIT_BYTES } from "./limits.ts";
import { extension, type JsonObject } from "./types.ts";

/** Start of the details that the gateway gives with its own answers; they are in the right shape already. */
const GATEWAY_DETAILS = "aibrix_";

/** Response code details that Envoy sets itself when the ext_proc service failed (`ext_proc_error_…`). */
const EXT_PROC_FAILED = 'response.code_details.startsWith("ext_proc_error")';

function cel(expression: string): JsonObject {
  return {
    extension_filter: extension("envoy.access_loggers.extension_filters.cel", "extensions.access_loggers.filters.cel.v3.ExpressionFilter", {
      expression,
    }),
  };
}

function errorBody(message: string, type: string, code: string): JsonObject {
  return { json_format: { error: { message, type, param: null, code } }, content_type: "application/json" };
}

const RETRY_AFTER: JsonObject = { header: { key: "retry-after", value: "2" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" };

/**
 * Answers that Envoy gives itself, in the error shape that OpenAI's clients read. The first mapper that matches decides; the gateway's own
 * answers pass as they are.
 */
export const LOCAL_REPLIES: JsonObject = {
  mappers: [
    {
      filter: cel(EXT_PROC_FAILED),
      status_code: 503,
      headers_to_add: [RETRY_AFTER],
      body_format_override: errorBody("The gateway cannot route requests now. Try again shortly.", "server_error", "gateway_unavailable"),
    },
    {
      filter: cel(`response.code == 413 && !response.code_details.startsWith("${GATEWAY_DETAILS}")`),
      body_format_override: errorBody(
        `The request body is too large: at most ${BUFFER_LIMIT_BYTES} bytes can be read.`,
        "invalid_request_error",
        "request_too_large",
      ),
    },
    {
      filter: cel(`response.code == 408 && !response.code_details.startsWith("${GATEWAY_DETAILS}")`),
      body_format_override: errorBody("The request did not come whole in time. Send it again.", "invalid_request_error", "request_timeout"),
    },
    {
      filter: cel(`response.code == 503 && !response.code_details.startsWith("${GATEWAY_DETAILS}")`),
      headers_to_add: [RETRY_AFTER],
      body_format_override: errorBody(
        "No engine could be reached for this model: %LOCAL_REPLY_BODY%",
        "server_error",
        "engine_unavailable",
      ),
    },
    {
      filter: cel(`response.code >= 500 && !response.code_details.startsWith("${GATEWAY_DETAILS}")`),
      body_format_override: errorBody("%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)", "server_error", "proxy_error"),
    },
    {
      filter: cel(`!response.code_details.startsWith("${GATEWAY_DETAILS}")`),
      body_format_override: errorBody("%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)", "invalid_request_error", "bad_request"),
    },
  ],
};
