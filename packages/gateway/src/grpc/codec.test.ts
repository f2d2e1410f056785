import { expect, test } from "vitest";
import { envoy } from "#proto";
import { modelNotFound } from "../openai/errors.ts";
import { encodeReply } from "./codec.ts";
import { readRequest } from "./request-reader.ts";

const { ProcessingRequest, ProcessingResponse } = envoy.service.ext_proc.v3;

function encoded(request: envoy.service.ext_proc.v3.ProcessingRequest.$Properties): Buffer {
  return Buffer.from(ProcessingRequest.encode(request).finish());
}

test("reads the headers that decide, as bytes or as text", () => {
  const headers = [
    { key: ":method", rawValue: Buffer.from("POST") },
    { key: ":path", rawValue: Buffer.from("/v1/completions?a=1") },
    { key: "content-type", value: "application/json" },
    { key: "content-length", rawValue: Buffer.from("12") },
    { key: "content-encoding", rawValue: Buffer.from("GZIP") },
    { key: "model-namespace", rawValue: Buffer.from("team-a") },
    { key: "x-gateway-model-peek", rawValue: Buffer.from("gr%C3%B6%C3%9Fe/%E6%A8%A1%E5%9E%8B") },
    { key: "x-odd", rawValue: Buffer.from([0xff, 0xfe]) },
  ];
  expect(readRequest(encoded({ requestHeaders: { headers: { headers }, endOfStream: true } }))).toEqual({
    kind: "requestHeaders",
    head: {
      method: "POST",
      path: "/v1/completions?a=1",
      contentType: "application/json",
      contentLength: 12,
      contentEncoding: "gzip",
      modelNamespace: "team-a",
      peekedModel: "größe/模型",
    },
    endOfStream: true,
  });
});

test("reads a body without copying it", () => {
  const bytes = encoded({ requestBody: { body: Buffer.from("abc"), endOfStream: true } });
  const message = readRequest(bytes);
  expect(message).toEqual({ kind: "requestBody", body: Buffer.from("abc"), endOfStream: true });
  expect(message.kind === "requestBody" && message.body.buffer).toBe(bytes.buffer);
});

test.each(["requestTrailers", "responseHeaders", "responseTrailers"] as const)("reads %s", (kind) => {
  expect(readRequest(encoded({ [kind]: {} }))).toEqual({ kind });
});

test("a message that it does not know is unknown; bytes that are none are an error", () => {
  expect(readRequest(Buffer.from([0xa2, 0x06, 0x00]))).toEqual({ kind: "unknown" }); // Field 100.
  expect(readRequest(Buffer.alloc(0))).toEqual({ kind: "unknown" });
  expect(() => readRequest(Buffer.from([0x12, 0x7f, 0x01]))).toThrow();
});

test.each(["requestHeaders", "requestBody"] as const)("writes a route in answer to %s as header and as metadata", (phase) => {
  const response = ProcessingResponse.decode(
    encodeReply({ kind: "route", phase, model: "m", destinations: ["10.0.0.1:8000", "10.0.0.2:8000"] }),
  );
  expect(response.response).toBe(phase);
  const common = response[phase]?.response;
  const [header] = common?.headerMutation?.setHeaders ?? [];
  expect(header?.header?.key).toBe("x-gateway-destination-endpoint");
  expect(Buffer.from(header?.header?.rawValue ?? []).toString()).toBe("10.0.0.1:8000,10.0.0.2:8000");
  expect(header?.appendAction).toBe(2); // OVERWRITE_IF_EXISTS_OR_ADD
  expect(common?.clearRouteCache).toBe(true);
  const lb = response.dynamicMetadata?.fields?.["envoy.lb"]?.structValue?.fields;
  expect(lb?.["x-gateway-destination-endpoint"]?.stringValue).toBe("10.0.0.1:8000,10.0.0.2:8000");
});

test("writes an answer with its status, content type and headers", () => {
  const answer = { ...modelNotFound("x"), headers: { "retry-after": "2" } };
  const { immediateResponse } = ProcessingResponse.decode(encodeReply({ kind: "answer", answer }));
  expect(immediateResponse?.status?.code).toBe(404);
  const headers = immediateResponse?.headers?.setHeaders?.map((h) => [h.header?.key, Buffer.from(h.header?.rawValue ?? []).toString()]);
  expect(headers).toEqual([
    ["content-type", "application/json"],
    ["retry-after", "2"],
  ]);
  expect(Buffer.from(immediateResponse?.body ?? []).toString()).toBe(answer.body);
  expect(immediateResponse?.details).toBe("aibrix_model_not_found");
});

test.each(["requestHeaders", "requestBody", "requestTrailers", "responseHeaders", "responseBody", "responseTrailers"] as const)(
  "acknowledges %s",
  (phase) => {
    expect(ProcessingResponse.decode(encodeReply({ kind: "continue", phase })).response).toBe(phase);
  },
);

const ROUTING_HEADERS = ["x-gateway-destination-endpoint", "model-namespace", "x-gateway-model-peek"];

test("takes a client's routing headers away with the first answer", () => {
  for (const reply of [{ kind: "continue", phase: "requestHeaders" }, { kind: "readBody" }] as const) {
    const response = ProcessingResponse.decode(encodeReply(reply));
    expect(response.requestHeaders?.response?.headerMutation?.removeHeaders).toEqual(ROUTING_HEADERS);
  }
  // The destination is overwritten.
  const route = ProcessingResponse.decode(
    encodeReply({ kind: "route", phase: "requestHeaders", model: "m", destinations: ["10.0.0.1:8000"] }),
  );
  expect(route.requestHeaders?.response?.headerMutation?.removeHeaders).toEqual(ROUTING_HEADERS.slice(1));
});

test("reads the status of an answer, which Envoy sends where it is told to", () => {
  const status = (value: string) =>
    readRequest(
      encoded({ responseHeaders: { headers: { headers: [{ key: ":method" }, { key: ":status", rawValue: Buffer.from(value) }] } } }),
    );
  expect(status("503")).toEqual({ kind: "responseHeaders", status: 503 });
  for (const odd of ["", "600", "20", "2000", "abc"]) expect(status(odd)).toEqual({ kind: "responseHeaders", status: undefined });
});

test("has the head of the answer sent where it is to be watched, and nothing else of it", () => {
  const body = ProcessingResponse.decode(encodeReply({ kind: "readBody" }, undefined, true));
  const routed = { kind: "route", phase: "requestHeaders", model: "m", destinations: ["10.0.0.1:8000"] } as const;
  const [plain, watched, traced] = [encodeReply(routed), encodeReply(routed, undefined, true), encodeReply(routed, { a: "b" }, true)].map(
    (bytes) => ProcessingResponse.decode(bytes),
  );
  // SEND, NONE or BUFFERED, SKIP or SEND
  expect(body.modeOverride).toMatchObject({ requestHeaderMode: 1, requestBodyMode: 2, responseHeaderMode: 1, responseTrailerMode: 2 });
  for (const response of [watched, traced]) {
    expect(response?.modeOverride).toMatchObject({ requestHeaderMode: 1, responseHeaderMode: 1, responseTrailerMode: 2 });
    expect([response?.modeOverride?.requestBodyMode ?? 0, response?.modeOverride?.responseBodyMode ?? 0]).toEqual([0, 0]);
    expect(response?.dynamicMetadata).toEqual(plain?.dynamicMetadata);
  }
  expect(plain?.modeOverride).toBeFalsy();
  // Too late to be told: Envoy takes no such wish there.
  expect(ProcessingResponse.decode(encodeReply({ ...routed, phase: "requestBody" }, undefined, true)).modeOverride).toBeFalsy();
});

test("asks for the whole body, and for nothing of the response", () => {
  const { modeOverride } = ProcessingResponse.decode(encodeReply({ kind: "readBody" }));
  // SEND, BUFFERED, SEND; SKIP, NONE
  expect(modeOverride).toMatchObject({ requestHeaderMode: 1, requestBodyMode: 2, requestTrailerMode: 1 });
  expect(modeOverride).toMatchObject({ responseHeaderMode: 2, responseTrailerMode: 2 });
  expect(modeOverride?.responseBodyMode ?? 0).toBe(0);
});
