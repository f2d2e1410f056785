import { HEADER_MODEL_NAMESPACE, HEADER_MODEL_PEEK } from "@aibrix/api";

/** A header as Envoy sends it: the name in lower case, the value as bytes (or, from old Envoys, as text). */
export interface Header {
  readonly key?: string;
  readonly value?: string;
  readonly rawValue?: Uint8Array;
}

/** The headers that are looked at: others are not even read. */
export const HEAD_HEADERS = [
  ":method",
  ":path",
  "content-type",
  "content-length",
  "content-encoding",
  "x-request-id",
  "traceparent",
  "tracestate",
  HEADER_MODEL_NAMESPACE,
  HEADER_MODEL_PEEK,
] as const;

/** What the gateway reads of a request's headers. */
export interface RequestHead {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly contentType: string;
  /** In bytes; `undefined` where the header is absent or no number. */
  readonly contentLength: number | undefined;
  /** Lower case, several in their order; empty where the header is absent or says `identity` alone. */
  readonly contentEncoding: string;
  /** The namespace that the client chose; `undefined` where it chose none. */
  readonly modelNamespace: string | undefined;
  /** The model that Envoy found in the body; `undefined` where it did not look, or was in doubt. */
  readonly peekedModel: string | undefined;
  /** As Envoy or the client gave it; `undefined` where there is none. */
  readonly requestId: string | undefined;
  /** The trace that the client is in (W3C Trace Context); `undefined` where it told none. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
}

/** Picks out of a request's headers what decides. */
export function readRequestHead(headers: readonly Header[]): RequestHead {
  let method = "";
  let path = "";
  let contentType = "";
  let contentLength: number | undefined;
  let contentEncoding = "";
  let modelNamespace: string | undefined;
  let peekedModel: string | undefined;
  let requestId: string | undefined;
  let traceparent: string | undefined;
  let tracestate: string | undefined;
  for (const header of headers) {
    switch (header.key as (typeof HEAD_HEADERS)[number]) {
      case ":method":
        method = text(header);
        break;
      case ":path":
        path = text(header);
        break;
      case "content-type":
        contentType = text(header);
        break;
      case "content-length": {
        const value = text(header);
        contentLength = /^\d{1,15}$/.test(value) ? Number(value) : undefined;
        break;
      }
      case "content-encoding":
        contentEncoding = encodings(contentEncoding, text(header));
        break;
      case "x-request-id":
        requestId = text(header) || undefined;
        break;
      case "traceparent":
        traceparent = text(header) || undefined;
        break;
      case "tracestate":
        tracestate = text(header) || undefined;
        break;
      case HEADER_MODEL_NAMESPACE:
        modelNamespace = text(header).trim() || undefined;
        break;
      case HEADER_MODEL_PEEK:
        peekedModel = decoded(text(header)) || undefined;
        break;
    }
  }
  return { method, path, contentType, contentLength, contentEncoding, modelNamespace, peekedModel, requestId, traceparent, tracestate };
}

function text(header: Header): string {
  const raw = header.rawValue;
  if (raw === undefined || raw.length === 0) return header.value ?? "";
  return Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString("latin1");
}

/** Adds a header's encodings to those of the headers before it. None of them takes another's back. */
function encodings(before: string, value: string): string {
  const names = value.split(",").map((name) => name.trim().toLowerCase());
  return [before, ...names].filter((name) => name !== "" && name !== "identity").join(", ");
}

/** A percent-encoded header's text; `undefined` where it is no UTF-8. */
function decoded(value: string): string | undefined {
  if (!value.includes("%")) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined; // The body is read instead, and refused.
  }
}
