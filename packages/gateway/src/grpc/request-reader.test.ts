import fc from "fast-check";
import { expect, test } from "vitest";
import { envoy } from "#proto";
import { HEAD_HEADERS, readRequestHead } from "../http/request-head.ts";
import type { Message } from "../phases/types.ts";
import { readRequest } from "./request-reader.ts";

const { ProcessingRequest } = envoy.service.ext_proc.v3;
type Request = envoy.service.ext_proc.v3.ProcessingRequest.$Properties;

/** The same by the generated code. */
function reference(bytes: Buffer): Message {
  const message = ProcessingRequest.decode(bytes);
  if (message.request === undefined) return { kind: "unknown" };
  if (message.request === "requestHeaders") {
    const headers = message.requestHeaders;
    return { kind: message.request, head: readRequestHead(headers?.headers?.headers ?? []), endOfStream: headers?.endOfStream ?? false };
  }
  if (message.request === "requestBody") return { kind: message.request, body: Buffer.from(message.requestBody?.body ?? []) };
  return { kind: message.request };
}

const bytes = fc.uint8Array({ maxLength: 300 });
const key = fc.oneof(fc.constantFrom(...HEAD_HEADERS), fc.string({ maxLength: 20 }));
const header = fc.oneof(
  fc.record({ key, rawValue: bytes }),
  fc.record({ key, value: fc.string({ unit: "binary" }) }),
  fc.record({ key, value: fc.string(), rawValue: bytes }),
  fc.record({ key }),
);
const headers = fc.record({ headers: fc.record({ headers: fc.array(header, { maxLength: 12 }) }), endOfStream: fc.boolean() });
const request: fc.Arbitrary<Request> = fc.oneof(
  headers.map((requestHeaders) => ({ requestHeaders })),
  fc.record({ body: bytes, endOfStream: fc.boolean() }).map((requestBody) => ({ requestBody })),
  fc.constantFrom<Request>({ requestTrailers: {} }, { responseHeaders: {} }, { responseBody: {} }, { responseTrailers: {} }, {}),
);
/** Fields that this gateway does not know, of every wire type. */
const unknown = fc.constantFrom("f80601", "f206026162", "f1060102030405060708", "f50601020304", "").map((hex) => Buffer.from(hex, "hex"));

test("reads every message as the generated code does", () => {
  fc.assert(
    fc.property(unknown, request, unknown, (before, message, after) => {
      const encoded = Buffer.concat([before, ProcessingRequest.encode(message).finish(), after]);
      expect(readRequest(encoded)).toEqual(reference(encoded));
    }),
    { numRuns: 2_000 },
  );
});

test("any bytes are read or refused; a message that is cut is never read beyond its end", () => {
  fc.assert(
    fc.property(request, fc.nat(400), fc.uint8Array({ maxLength: 60 }), (message, cut, noise) => {
      const encoded = Buffer.from(ProcessingRequest.encode(message).finish());
      for (const input of [encoded.subarray(0, cut), Buffer.from(noise)]) {
        try {
          readRequest(input);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }
    }),
    { numRuns: 2_000 },
  );
});
