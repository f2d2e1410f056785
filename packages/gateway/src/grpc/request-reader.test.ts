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
    const { requestBodyMode = 0, responseBodyMode = 0 } = message.protocolConfig ?? {};
    const duplex = { request: requestBodyMode === 4, response: responseBodyMode === 4 };
    const hint = message.metadataContext?.filterMetadata?.["envoy.lb.subset_hint"]?.fields?.["x-gateway-destination-endpoint-subset"];
    const subset = hint?.listValue?.values?.map((one) => one.stringValue ?? "");
    return {
      kind: message.request,
      head: readRequestHead(headers?.headers?.headers ?? []),
      endOfStream: headers?.endOfStream ?? false,
      ...(duplex.request || duplex.response ? { duplex } : {}),
      ...(subset === undefined ? {} : { subset }),
    };
  }
  if (message.request === "requestBody" || message.request === "responseBody") {
    const { body = [], endOfStream = false } = message[message.request] ?? {};
    return { kind: message.request, body: Buffer.from(body ?? []), endOfStream: endOfStream ?? false };
  }
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
const mode = fc.nat({ max: 5 });
const protocolConfig = fc.record({ requestBodyMode: mode, responseBodyMode: mode }, { requiredKeys: [] });
const endpoints = fc.array(fc.constantFrom("10.0.0.1:8000", "10.0.0.2:8000", "[::1]:8000"), { maxLength: 3 });
const metadataContext = fc
  .tuple(fc.constantFrom("envoy.lb.subset_hint", "envoy.lb"), fc.constantFrom("x-gateway-destination-endpoint-subset", "x"), endpoints)
  .map(([namespace, name, list]) => {
    const values = list.map((stringValue) => ({ stringValue }));
    return { filterMetadata: { [namespace]: { fields: { [name]: { listValue: { values } } } } } };
  });
const body = fc.record({ body: bytes, endOfStream: fc.boolean() });
const request: fc.Arbitrary<Request> = fc.oneof(
  headers.map((requestHeaders) => ({ requestHeaders })),
  fc.record({ requestHeaders: headers, protocolConfig, metadataContext }, { requiredKeys: ["requestHeaders"] }),
  body.map((requestBody) => ({ requestBody })),
  body.map((responseBody) => ({ responseBody })),
  fc.constantFrom<Request>({ requestTrailers: {} }, { responseHeaders: {} }, { responseTrailers: {} }, {}),
);
/** A field of bytes. */
function field(number: number, content: Uint8Array): Buffer {
  const low = (content.length & 0x7f) | (content.length > 0x7f ? 0x80 : 0);
  const length = content.length > 0x7f ? [low, content.length >>> 7] : [low];
  return Buffer.concat([Buffer.from([number * 8 + 2, ...length]), content]);
}

/** Parts that are joined: a message may be split anywhere, and have each of its fields again, in any order. */
const joined = (part: fc.Arbitrary<Buffer>, maxLength: number): fc.Arbitrary<Buffer> =>
  fc.array(part, { maxLength }).map((parts) => Buffer.concat(parts));
const utf8 = (text: fc.Arbitrary<string>): fc.Arbitrary<Buffer> => text.map((t) => Buffer.from(t));
const loose = {
  header: joined(
    fc.oneof(
      utf8(key).map((k) => field(1, k)),
      utf8(fc.string({ maxLength: 20 })).map((v) => field(2, v)),
      fc.uint8Array({ maxLength: 20 }).map((v) => field(3, v)),
    ),
    4,
  ).map((header) => field(1, header)),
  end: fc.constantFrom("1800", "1801").map((hex) => Buffer.from(hex, "hex")),
};
const looseHeaders = joined(
  fc.oneof(
    joined(loose.header, 4).map((map) => field(1, map)),
    loose.end,
  ),
  3,
).map((part) => field(2, part));
const looseBody = joined(
  fc.oneof(
    bytes.map((content) => field(1, content)),
    fc.constantFrom("1000", "1001").map((hex) => Buffer.from(hex, "hex")),
  ),
  3,
).map((part) => field(4, part));

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

test("reads fields in any order, that come again, and messages that are split, as the generated code does", () => {
  fc.assert(
    fc.property(fc.oneof(joined(looseHeaders, 3), joined(looseBody, 3)), (encoded) => {
      expect(readRequest(encoded)).toEqual(reference(encoded));
    }),
    { numRuns: 5_000 },
  );
});

test("of several kinds in one message the last is read alone", () => {
  const headersOf = (path: string): Buffer =>
    Buffer.from(ProcessingRequest.encode({ requestHeaders: { headers: { headers: [{ key: path, value: "1" }] } } }).finish());
  const body = Buffer.from(ProcessingRequest.encode({ requestBody: { body: Buffer.from("a") } }).finish());
  const message = readRequest(Buffer.concat([headersOf(":method"), body, headersOf(":path")]));
  expect(message).toMatchObject({ kind: "requestHeaders", head: { method: "", path: "1" } });
  expect(readRequest(Buffer.concat([headersOf(":method"), body]))).toEqual({
    kind: "requestBody",
    body: Buffer.from("a"),
    endOfStream: false,
  });
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

test.each([
  { fields: { ":status": "200", "x-gateway-attempts": "4" }, want: { status: 200, attempts: 4 } },
  { fields: { "x-gateway-attempts": "12", "content-type": "text/html", ":status": "503" }, want: { status: 503, attempts: 12 } },
  { fields: { ":status": "200" }, want: { status: 200, attempts: undefined } },
  { fields: { ":status": "20", "x-gateway-attempts": "-" }, want: { status: undefined, attempts: undefined } },
  { fields: { ":status": "200", "x-gateway-attempts": "0" }, want: { status: 200, attempts: undefined } },
])("of an answer's head it reads $want", ({ fields, want }) => {
  const headers = Object.entries(fields).map(([key, value]) => ({ key, rawValue: Buffer.from(value) }));
  const encoded = Buffer.from(ProcessingRequest.encode({ responseHeaders: { headers: { headers } } }).finish());
  expect(readRequest(encoded)).toEqual({ kind: "responseHeaders", ...want });
});
