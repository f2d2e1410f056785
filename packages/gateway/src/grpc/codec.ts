import { HEADER_DESTINATION, HEADER_MODEL_NAMESPACE, HEADER_MODEL_PEEK } from "@aibrix/api";
import { envoy } from "#proto";
import type { Answer } from "../openai/errors.ts";
import type { Reply, RoutedPhase } from "../phases/types.ts";
import { templated } from "./template.ts";

const { ProcessingResponse } = envoy.service.ext_proc.v3;
const { CONTINUE_AND_REPLACE } = envoy.service.ext_proc.v3.CommonResponse.ResponseStatus;
const { ProcessingMode } = envoy.extensions.filters.http.ext_proc.v3;
const OVERWRITE = envoy.config.core.v3.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD;
type Response = envoy.service.ext_proc.v3.ProcessingResponse.$Properties;

/** Metadata namespace in which Envoy's load balancers, and the Gateway API Inference Extension, look for the destination. */
const METADATA_NAMESPACE = "envoy.lb";

/**
 * Writes a `ProcessingResponse`.
 *
 * @param headers - set on a request that is routed, besides the destination
 * @param watch - has Envoy send the head of the answer too. Envoy heeds that in the answer to a request's headers alone: where the body is
 *   asked for, it has to be told then
 */
export function encodeReply(reply: Reply, headers?: Readonly<Record<string, string>>, watch = false): Buffer {
  switch (reply.kind) {
    case "continue":
      return CONTINUE[reply.phase];
    case "readBody":
      return watch ? READ_BODY_AND_WATCH : READ_BODY;
    case "route":
      if (headers !== undefined) return encode(routed(reply.phase, reply.destinations.join(","), { headers, watch }));
      if (watch && reply.phase === "requestHeaders") return ENCODE_WATCHED_ROUTE(reply.destinations.join(","));
      return ENCODE_ROUTE[reply.phase](reply.destinations.join(","));
    case "answer":
      return encode({ immediateResponse: immediate(reply.answer) });
  }
}

/** Largest piece of a body in one message; Envoy takes no more than 64 KB of a message's body in this mode. */
export const CHUNK_BYTES: number = 62 * 1024;

/**
 * Gives a piece of a body back where Envoy keeps no copy of it (`FULL_DUPLEX_STREAMED`).
 *
 * @param endOfStream - whether it is the last, and no trailers follow
 */
export function encodeChunk(phase: "requestBody" | "responseBody", body: Uint8Array, endOfStream: boolean): Uint8Array {
  const response = { bodyMutation: { streamedResponse: { body, endOfStream } } };
  return ProcessingResponse.encode(phase === "requestBody" ? { requestBody: { response } } : { responseBody: { response } }).finish();
}

/**
 * Routes by the headers and hands the whole body over with them, after which Envoy asks nothing more. For a body that ended with trailers:
 * given back piece by piece it would come to the engine twice where the route has retries (Envoy 1.40).
 */
export function encodeRouteWithBody(destinations: string, headers: Readonly<Record<string, string>> | undefined, body: Buffer): Uint8Array {
  const message = routed("requestHeaders", destinations, { headers });
  const response = { ...message.requestHeaders?.response, status: CONTINUE_AND_REPLACE, bodyMutation: { body } };
  return ProcessingResponse.encode({ ...message, requestHeaders: { response } }).finish();
}

function encode(response: Response): Buffer {
  return Buffer.from(ProcessingResponse.encode(response).finish());
}

/** Envoy removes a client's copies itself, before anything else runs; where it is configured otherwise they end here. None is for an engine. */
const REMOVED = [HEADER_DESTINATION, HEADER_MODEL_NAMESPACE, HEADER_MODEL_PEEK];

const CONTINUE = {
  requestHeaders: encode({ requestHeaders: { response: { headerMutation: { removeHeaders: REMOVED } } } }),
  requestBody: encode({ requestBody: {} }),
  requestTrailers: encode({ requestTrailers: {} }),
  responseHeaders: encode({ responseHeaders: {} }),
  responseBody: encode({ responseBody: {} }),
  responseTrailers: encode({ responseTrailers: {} }),
} as const;

const { SEND, SKIP } = ProcessingMode.HeaderSendMode;
const { BUFFERED, NONE } = ProcessingMode.BodySendMode;

/** What Envoy is to send besides the request's headers. */
function mode(wanted: { readonly body: boolean; readonly responseHeaders: boolean }): NonNullable<Response["modeOverride"]> {
  return {
    requestHeaderMode: SEND,
    requestBodyMode: wanted.body ? BUFFERED : NONE,
    // Of a request that has trailers and no body nothing else would be heard.
    requestTrailerMode: wanted.body ? SEND : SKIP,
    responseHeaderMode: wanted.responseHeaders ? SEND : SKIP,
    responseBodyMode: NONE,
    responseTrailerMode: SKIP,
  };
}

/** Has an effect only where Envoy is configured to send no body, and to be told otherwise; else the body comes anyway. */
const READ_BODY = encode(readBody(false));
const READ_BODY_AND_WATCH = encode(readBody(true));

function readBody(responseHeaders: boolean): Response {
  return {
    requestHeaders: { response: { headerMutation: { removeHeaders: REMOVED } } },
    modeOverride: mode({ body: true, responseHeaders }),
  };
}

const ENCODE_ROUTE = {
  requestHeaders: templated((destinations) => encode(routed("requestHeaders", destinations))),
  requestBody: templated((destinations) => encode(routed("requestBody", destinations))),
} as const satisfies Record<RoutedPhase, (destinations: string) => Buffer>;

const ENCODE_WATCHED_ROUTE = templated((destinations) => encode(routed("requestHeaders", destinations, { watch: true })));

interface RouteOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly watch?: boolean;
}

function routed(phase: RoutedPhase, destinations: string, { headers = {}, watch = false }: RouteOptions = {}): Response {
  // By its headers alone: what the body's request would have had removed before.
  const removeHeaders = phase === "requestHeaders" ? [HEADER_MODEL_NAMESPACE, HEADER_MODEL_PEEK] : [];
  const response = {
    headerMutation: {
      setHeaders: [setHeader(HEADER_DESTINATION, destinations), ...Object.entries(headers).map(([key, value]) => setHeader(key, value))],
      removeHeaders,
    },
    // Envoy's route to the engines wants this header: without a destination there is no way to them.
    clearRouteCache: true,
  };
  return {
    ...(phase === "requestHeaders" ? { requestHeaders: { response } } : { requestBody: { response } }),
    ...(watch && phase === "requestHeaders" ? { modeOverride: mode({ body: false, responseHeaders: true }) } : {}),
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
