import { HEADER_DESTINATION, HEADER_MODEL_NAMESPACE } from "@aibrix/api";
import { envoy } from "#proto";
import { readRequestHead } from "../http/request-head.ts";
import type { Answer } from "../openai/errors.ts";
import type { Message, Reply } from "../phases/types.ts";

const { ProcessingRequest, ProcessingResponse } = envoy.service.ext_proc.v3;
const OVERWRITE = envoy.config.core.v3.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD;
type Response = envoy.service.ext_proc.v3.ProcessingResponse.$Properties;

/** Metadata namespace in which Envoy's load balancers, and the Gateway API Inference Extension, look for the destination. */
const METADATA_NAMESPACE = "envoy.lb";

/**
 * Reads a `ProcessingRequest`.
 *
 * @throws RangeError or Error for bytes that are no such message
 */
export function decodeMessage(bytes: Buffer): Message {
  const message = ProcessingRequest.decode(bytes);
  switch (message.request) {
    case "requestHeaders": {
      const headers = message.requestHeaders;
      return { kind: "requestHeaders", head: readRequestHead(headers?.headers?.headers ?? []), endOfStream: headers?.endOfStream ?? false };
    }
    case "requestBody": {
      const body = message.requestBody?.body ?? new Uint8Array();
      return { kind: "requestBody", body: Buffer.from(body.buffer, body.byteOffset, body.length) };
    }
    case undefined:
      return { kind: "unknown" };
    default:
      return { kind: message.request };
  }
}

/** Writes a `ProcessingResponse`. */
export function encodeReply(reply: Reply): Buffer {
  switch (reply.kind) {
    case "continue":
      return CONTINUE[reply.phase];
    case "route":
      return encode(routed(reply.destinations.join(",")));
    case "answer":
      return encode({ immediateResponse: immediate(reply.answer) });
  }
}

function encode(response: Response): Buffer {
  return Buffer.from(ProcessingResponse.encode(response).finish());
}

const CONTINUE = {
  // Envoy removes a client's destination itself, before anything else runs; where it is configured otherwise it ends here. The namespace
  // was for this program alone.
  requestHeaders: encode({
    requestHeaders: { response: { headerMutation: { removeHeaders: [HEADER_DESTINATION, HEADER_MODEL_NAMESPACE] } } },
  }),
  requestBody: encode({ requestBody: {} }),
  requestTrailers: encode({ requestTrailers: {} }),
  responseHeaders: encode({ responseHeaders: {} }),
  responseBody: encode({ responseBody: {} }),
  responseTrailers: encode({ responseTrailers: {} }),
} as const;

function routed(destinations: string): Response {
  return {
    requestBody: {
      response: {
        headerMutation: { setHeaders: [setHeader(HEADER_DESTINATION, destinations)] },
        // Envoy's route to the engines wants this header: without a destination there is no way to them.
        clearRouteCache: true,
      },
    },
    dynamicMetadata: {
      fields: { [METADATA_NAMESPACE]: { structValue: { fields: { [HEADER_DESTINATION]: { stringValue: destinations } } } } },
    },
  };
}

function immediate({ status, body, headers, details }: Answer): envoy.service.ext_proc.v3.ImmediateResponse.$Properties {
  return {
    status: { code: status },
    headers: {
      setHeaders: [setHeader("content-type", "application/json"), ...Object.entries(headers).map(([key, value]) => setHeader(key, value))],
    },
    body: Buffer.from(body),
    details,
  };
}

function setHeader(key: string, value: string): envoy.config.core.v3.HeaderValueOption.$Properties {
  return { header: { key, rawValue: Buffer.from(value) }, appendAction: OVERWRITE };
}
