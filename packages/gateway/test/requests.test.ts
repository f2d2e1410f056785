import { once } from "node:events";
import { connect } from "node:http2";
import { connect as connectTcp } from "node:net";
import { Readable } from "node:stream";
import { ENVOY_RETRIES } from "@aibrix/api";
import { envoyBootstrap } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DataPath, startDataPath, startDataPathWith } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;

let a: StandInEngine;
let other: StandInEngine;
let runtime: FakeRuntime;
let path: DataPath;

beforeAll(async () => {
  a = await new StandInEngine("a", ["base", "lora"]).start();
  // In Envoy's cluster, but never a candidate: whatever arrives here came past the gateway's choice.
  other = await new StandInEngine("other", ["base", "lora"]).start();
  runtime = await new FakeRuntime(a.url, ["base"]).start();
  runtime.setAdapter("lora");
  path = await startDataPath([a, other], [{ engine: a.url, runtime: runtime.url }], { gatewayArgs: ["--access-log"] });
});

afterAll(async () => {
  await path?.stop();
  await Promise.all([runtime?.stop(), a?.stop(), other?.stop()]);
});

test.each([
  { name: "a path that is not OpenAI's", call: () => path.call("/invocations", { body: "{}" }), want: [404, "unknown_url"] },
  { name: "a path that changes an engine", call: () => path.call("/v1/load_lora_adapter", { body: "{}" }), want: [404, "unknown_url"] },
  { name: "a path that climbs", call: () => path.call("/v1/completions/../../adapters", { body: "{}" }), want: [404, "unknown_url"] },
  { name: "another method", call: () => path.call("/v1/completions"), want: [405, "method_not_supported"] },
  { name: "a POST to the models", call: () => path.call("/v1/models", { body: "{}" }), want: [405, "method_not_supported"] },
  {
    name: "a compressed body",
    call: () => path.call("/v1/completions", { body: "x", headers: { "content-encoding": "gzip" } }),
    want: [415, "unsupported_content_encoding"],
  },
  { name: "no body", call: () => path.call("/v1/completions", { method: "POST" }), want: [400, null] },
  { name: "an empty body", call: () => path.call("/v1/completions", { body: Readable.from(chunks(0, 1)) }), want: [400, null] },
  { name: "a broken body", call: () => path.call("/v1/completions", { body: '{"model": "base"' }), want: [400, null] },
  { name: "a body that is no object", call: () => path.call("/v1/completions", { body: '["model"]' }), want: [400, null] },
  { name: "a missing model", call: () => path.call("/v1/completions", { body: "{}" }), want: [400, "missing_required_parameter"] },
  { name: "a model that is a number", call: () => path.call("/v1/completions", { body: '{"model": 1}' }), want: [400, "invalid_type"] },
  { name: "a form without a boundary", call: () => path.call("/v1/audio/transcriptions", { body: "x" }), want: [400, null] },
])("refuses $name", async ({ call, want }) => {
  const before = a.count + other.count;
  const answer = await call();
  expect([answer.status, answer.json?.error.code]).toEqual(want);
  expect(answer.headers["content-type"]).toBe("application/json");
  expect(answer.json.error.message.length).toBeGreaterThan(20);
  expect(answer.json.error.type).toBe("invalid_request_error");
  expect(a.count + other.count).toBe(before);
});

test("a query string is passed on", async () => {
  expect((await path.call("/v1/completions?trace=1", { body: '{"model":"base"}' })).status).toBe(200);
  expect(a.seen.at(-1)?.path).toBe("/v1/completions?trace=1");
});

test("the last model of a body counts, as it does for the engine", async () => {
  const answer = await path.call("/v1/completions", { body: '{"model":"nobody","x":{"model":"nobody"},"model":"lora"}' });
  expect([answer.status, answer.json.model]).toEqual([200, "lora"]);
});

test("a client's own destination has no effect", async () => {
  const before = other.count;
  const address = `127.0.0.1:${other.port}`;
  const headers = {
    "x-gateway-destination-endpoint": address,
    "X-Gateway-Destination-Endpoint-Subset": address,
    "target-pod": address,
    "x-envoy-original-dst-host": address,
    "model-namespace": "elsewhere",
    "x-envoy-retry-on": "5xx",
    "x-envoy-upstream-rq-timeout-ms": "1",
  };
  for (let i = 0; i < 10; i++) {
    const answer = await path.complete("lora", { headers });
    expect([answer.status, answer.json]).toEqual([200, expect.objectContaining({ engine: "a" })]);
  }
  expect(other.count).toBe(before);
  const seen = a.seen.at(-1)?.headers ?? {};
  const destination = `127.0.0.1:${a.port}`;
  expect(seen["x-gateway-destination-endpoint"]).toBe(Array.from({ length: ENVOY_RETRIES + 1 }, () => destination).join(","));
  for (const name of ["target-pod", "model-namespace", "x-envoy-original-dst-host", "x-gateway-destination-endpoint-subset"]) {
    expect(seen[name]).toBeUndefined();
  }
  // A path that the gateway answers, or refuses, does not reach it either.
  await path.call("/v1/nothing", { body: "{}", headers });
  expect(other.count).toBe(before);
});

test("the client's authorization goes through untouched", async () => {
  await path.complete("base", { headers: { authorization: "Bearer abc" } });
  expect(a.seen.at(-1)?.headers.authorization).toBe("Bearer abc");
});

test("a request of headers and trailers alone reaches no engine", async () => {
  const before = a.count + other.count;
  const { status, text } = await withTrailersAlone(path.url);
  expect(status).toBe(400);
  expect(JSON.parse(text).error.message).toContain("has no body");
  expect(a.count + other.count).toBe(before);
});

test("nor does it where Envoy has a way to the engines for requests without a destination", async () => {
  const loose = await startDataPathWith(
    ({ listenPort, adminPort, grpcPort }) => {
      const extProc = { host: "127.0.0.1", port: grpcPort };
      // biome-ignore lint/suspicious/noExplicitAny: Envoy's configuration is JSON without types here.
      const bootstrap: any = envoyBootstrap({ listenPort, adminPort, extProc, engines: [{ host: "127.0.0.1", port: a.port }] });
      const hcm = bootstrap.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
      const [toEngines] = hcm.route_config.virtual_hosts[0].routes;
      hcm.route_config.virtual_hosts[0].routes = [{ ...toEngines, match: { prefix: "/" } }];
      return bootstrap;
    },
    [{ engine: a.url, runtime: runtime.url }],
  );
  try {
    const before = a.count;
    expect((await loose.complete("lora")).status).toBe(200);
    expect((await withTrailersAlone(loose.url)).status).toBe(400);
    expect(a.count).toBe(before + 1);
  } finally {
    await loose.stop();
  }
});

async function withTrailersAlone(url: string): Promise<{ readonly status: unknown; readonly text: string }> {
  const session = connect(url);
  const stream = session.request(
    { ":method": "POST", ":path": "/v1/completions", "content-type": "application/json" },
    { endStream: false, waitForTrailers: true },
  );
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
  stream.end();
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  session.close();
  return { status: headers[":status"], text };
}

test("trailers after a body do no harm", async () => {
  const session = connect(path.url);
  const stream = session.request({ ":method": "POST", ":path": "/v1/completions" }, { endStream: false, waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
  stream.end('{"model":"lora"}');
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  stream.resume();
  await once(stream, "end");
  session.close();
  expect(headers[":status"]).toBe(200);
});

test.each([2 * MIB, 15 * MIB])("a body of %i bytes passes whole", async (size) => {
  const answer = await path.complete("lora", { body: JSON.stringify({ model: "lora", prompt: "x".repeat(size) }) });
  expect(answer.status).toBe(200);
  expect(answer.json.bodyBytes).toBeGreaterThan(size);
});

test("audio of 24 MiB passes, its model read from the form", async () => {
  a.handler = (_request, response, body) => response.end(JSON.stringify({ bytes: body.length }));
  const form = new FormData();
  form.append("file", new Blob([Buffer.alloc(24 * MIB)]), "speech.wav");
  form.append("model", "lora");
  const answer = await fetch(`${path.url}/v1/audio/transcriptions`, { method: "POST", body: form });
  a.handler = undefined;
  expect(answer.status).toBe(200);
  expect(((await answer.json()) as { bytes: number }).bytes).toBeGreaterThan(24 * MIB);
});

test.each([
  { name: "17 MiB, announced", body: () => Buffer.alloc(17 * MIB, 32), says: /this path takes at most .*16 MiB/ },
  { name: "17 MiB, not announced", body: () => chunks(17 * MIB, MIB), says: /this path takes at most .*16 MiB/ },
  { name: "40 MiB, above what Envoy buffers", body: () => chunks(40 * MIB, MIB), says: /at most 33554432 bytes/ },
])("a body of $name is a 413 in OpenAI's shape that names the limit", async ({ body, says }) => {
  const before = a.count + other.count;
  const answer = await tooLarge(body());
  expect(answer.status).toBe(413);
  expect(answer.json.error.code).toBe("request_too_large");
  expect(answer.json.error.message).toMatch(says);
  expect(a.count + other.count).toBe(before);
});

test("a stream passes chunk by chunk", async () => {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  a.handler = async (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write('data: {"text":"first"}\n\n');
    await released;
    response.end("data: [DONE]\n\n");
  };
  const answer = await fetch(`${path.url}/v1/completions`, { method: "POST", body: '{"model":"lora","stream":true}' });
  a.handler = undefined;
  expect(answer.headers.get("content-type")).toBe("text/event-stream");
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  expect((await reader?.read())?.value).toBe('data: {"text":"first"}\n\n'); // The engine has not sent the rest.
  release();
  expect((await reader?.read())?.value).toBe("data: [DONE]\n\n");
  expect((await reader?.read())?.done).toBe(true);
});

test("metrics tell what came of requests, by model too, and who found the model", async () => {
  const escaped = await path.call("/v1/completions", { body: '{"model":"\\u006cora"}' });
  expect(escaped.status).toBe(200);
  await path.complete("lora");
  await path.complete("a-name-that-nobody-has");
  const metrics = await (await fetch(`${path.gatewayUrl}/metrics`)).text();
  expect(metrics).toMatch(/^aibrix_gateway_requests_total\{result="routed",model_from="envoy",code=""\} [1-9]/m);
  expect(metrics).toMatch(/^aibrix_gateway_requests_total\{result="routed",model_from="body",code=""\} [1-9]/m);
  expect(metrics).toMatch(/^aibrix_gateway_requests_total\{result="aibrix_model_not_found",model_from="envoy",code="404"\} [1-9]/m);
  expect(metrics).toMatch(/^aibrix_gateway_model_requests_total\{model="lora",result="routed"\} [1-9]/m);
  expect(metrics).toMatch(/^aibrix_gateway_decision_seconds_count [1-9]/m);
  expect(metrics).toMatch(/^aibrix_gateway_wait_seconds_count [1-9]/m);
  expect(metrics).not.toContain("a-name-that-nobody-has");
});

test("the access log has a line for each request, without its query or its prompt", async () => {
  await path.call("/v1/completions?user=secret-query", {
    body: '{"model":"lora","prompt":"secret prompt"}',
    headers: { "model-namespace": "the-access-log", authorization: "Bearer secret-key" },
  });
  const line = await until("the line", () =>
    path
      .gateway()
      .output()
      .split("\n")
      .find((l) => l.includes('"the-access-log"')),
  );
  expect(JSON.parse(line)).toMatchObject({
    msg: "request",
    method: "POST",
    path: "/v1/completions",
    model: "lora",
    modelFrom: "envoy",
    result: "routed",
    engine: `127.0.0.1:${a.port}`,
    requestId: expect.stringMatching(/./),
  });
  expect(path.gateway().output()).not.toContain("secret");
});

test("clients that go away leave nothing behind", async () => {
  const head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ";
  const body = '{"model":"nobody"}';
  for (const text of [`${head}100\r\n\r\n{"model":`, `${head}${body.length}\r\n\r\n${body}`]) {
    for (let i = 0; i < 50; i++) {
      const socket = connectTcp(Number(new URL(path.url).port), "127.0.0.1");
      await once(socket, "connect");
      socket.write(text);
      socket.destroy();
    }
  }
  await until("no stream is open", async () => (await path.stat("cluster.ext_proc.upstream_rq_active")) === 0);
  expect((await path.complete("lora")).status).toBe(200);
  const metrics = await (await fetch(`${path.gatewayUrl}/metrics`)).text();
  expect(metrics).toContain("aibrix_gateway_defects_total 0");
});

async function* chunks(total: number, size: number): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < total; sent += size) yield Buffer.alloc(Math.min(size, total - sent), 32);
}

/** Envoy answers before it has read the whole body and closes, so the client's own write may fail first: ask again then. */
async function tooLarge(
  body: Buffer | AsyncIterable<Buffer>,
): Promise<{ status: number; json: { error: { code: string; message: string } } }> {
  const socket = connectTcp(Number(new URL(path.url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  let received = "";
  socket.setEncoding("utf8").on("data", (text: string) => {
    received += text;
  });
  const announced = Buffer.isBuffer(body);
  const length = announced ? `content-length: ${body.length}` : "transfer-encoding: chunked";
  socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${length}\r\n\r\n`);
  for await (const chunk of announced ? [body] : body) {
    if (received !== "" || socket.destroyed) break;
    if (!announced) socket.write(`${chunk.length.toString(16)}\r\n`);
    if (!socket.write(chunk)) await Promise.race([once(socket, "drain"), once(socket, "close")]).catch(() => undefined);
    if (!announced) socket.write("\r\n");
  }
  if (!announced && !socket.destroyed && received === "") socket.write("0\r\n\r\n");
  await until("an answer came", () => /\}\}\s*(0\r\n\r\n)?$/.test(received));
  socket.destroy();
  const json = received.slice(received.indexOf("{"), received.lastIndexOf("}") + 1);
  return { status: Number(received.split(" ")[1]), json: JSON.parse(json) as { error: { code: string; message: string } } };
}
