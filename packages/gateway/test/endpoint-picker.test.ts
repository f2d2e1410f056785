import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:http2";
import { connect as connectTcp } from "node:net";
import { request } from "undici";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TRANSPORTS } from "../src/grpc/server.ts";
import { type DataPath, startDataPathWith } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { type PickerOptions, pickerBootstrap } from "./support/picker-envoy.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

let engines: StandInEngine[];
let runtimes: FakeRuntime[];
let path: DataPath | undefined;

beforeEach(async () => {
  engines = await Promise.all(["a", "b"].map((name) => new StandInEngine(name, ["base"]).start()));
  for (const engine of engines) {
    engine.handler = (_request, response, body) => {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ engine: engine.name, ...digest(body) }));
    };
  }
  runtimes = await Promise.all(engines.map((engine) => new FakeRuntime(engine.url, ["base"]).start()));
});

afterEach(async () => {
  await path?.stop();
  path = undefined;
  await Promise.all([...engines, ...runtimes].map((part) => part.stop()));
});

async function start(transport: string, options: PickerOptions = {}): Promise<DataPath> {
  const endpoints = engines.map((engine, i) => ({ engine: engine.url, runtime: runtimes[i]?.url ?? "" }));
  path = await startDataPathWith(pickerBootstrap(engines, options), endpoints, { gatewayArgs: [`--grpc-transport=${transport}`] });
  return path;
}

function digest(body: Buffer): { readonly bytes: number; readonly sha256: string } {
  return { bytes: body.length, sha256: createHash("sha256").update(body).digest("hex") };
}

/** A body of about this size, its model at its end. */
function bodyOf(bytes: number, model = "base"): Buffer {
  const prompt = randomBytes(Math.ceil(bytes / 2)).toString("hex");
  return Buffer.from(JSON.stringify({ prompt, model }));
}

function form(bytes: number, model: string): Buffer {
  const head = `--b\r\nContent-Disposition: form-data; name="file"; filename="f.wav"\r\n\r\n`;
  const tail = `\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n${model}\r\n--b--\r\n`;
  return Buffer.concat([Buffer.from(head), randomBytes(bytes), Buffer.from(tail)]);
}

async function expectNothingLeft(at: DataPath): Promise<void> {
  await until("no stream is open", async () => (await at.stat("cluster.ext_proc.upstream_rq_active")) === 0);
  const metrics = async (): Promise<string> => await (await fetch(`${at.gatewayUrl}/metrics`)).text();
  await until("the gateway holds no stream", async () => (await metrics()).includes("aibrix_gateway_streams 0"));
  expect(await metrics()).toContain("aibrix_gateway_defects_total 0");
  expect((await at.complete("base")).status).toBe(200);
}

/** A request over HTTP/2 that ends with trailers. */
async function withTrailers(url: string, body: Buffer): Promise<{ readonly status: number; readonly text: string }> {
  const session = connect(url);
  const stream = session.request({ ":method": "POST", ":path": "/v1/completions" }, { waitForTrailers: true } as object);
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": "1" }));
  stream.end(body);
  const [headers] = (await once(stream, "response")) as [{ ":status": number }];
  let text = "";
  for await (const part of stream.setEncoding("utf8")) text += part;
  session.close();
  return { status: headers[":status"], text };
}

describe.each(Object.keys(TRANSPORTS))("the picker of an InferencePool on %s", (transport) => {
  test("names an engine, and gives the body on as it was, however long", async () => {
    const at = await start(transport);
    for (const bytes of [20, 61 * KIB, 256 * KIB, 10 * MIB]) {
      const body = bodyOf(bytes);
      const answer = await at.call("/v1/completions", { body });
      expect(answer.status, answer.text).toBe(200);
      expect(answer.json).toMatchObject(digest(body));
    }
    const bodies = Array.from({ length: 64 }, (_, i) => bodyOf(i * 8 * KIB));
    const answers = await Promise.all(bodies.map(async (body) => await at.call("/v1/completions", { body })));
    expect(answers.map(({ json }) => json.sha256)).toEqual(bodies.map((body) => digest(body).sha256));
    await expectNothingLeft(at);
  });

  test("takes forms, and bodies that end with trailers", async () => {
    const at = await start(transport);
    const audio = form(3 * MIB, "base");
    const headers = { "content-type": "multipart/form-data; boundary=b" };
    expect((await at.call("/v1/audio/transcriptions", { body: audio, headers })).json).toMatchObject(digest(audio));
    for (const bytes of [20, 300 * KIB]) {
      const body = bodyOf(bytes);
      const { status, text } = await withTrailers(at.url, body);
      expect(status, text).toBe(200);
      expect(JSON.parse(text)).toMatchObject(digest(body));
    }
    expect((await withTrailers(at.url, Buffer.alloc(0))).status).toBe(400);
    await expectNothingLeft(at);
  });

  test("refuses what cannot be served, as ever", async () => {
    const at = await start(transport);
    const statusOf = async (to: string, body: Buffer | string): Promise<number> => (await at.call(to, { method: "POST", body })).status;
    expect(await statusOf("/v1/completions", bodyOf(300 * KIB, "nobody"))).toBe(404);
    expect(await statusOf("/v1/completions", '{"prompt":"x"}')).toBe(400);
    expect(await statusOf("/v1/completions", "")).toBe(400);
    expect(await statusOf("/v1/completions", bodyOf(17 * MIB))).toBe(413);
    expect(await statusOf("/metrics", "x")).toBe(404);
    expect((await at.call("/v1/models")).json.data).toMatchObject([{ id: "base" }]);
    expect(engines.map(({ count }) => count)).toEqual([0, 0]);
    await expectNothingLeft(at);
  });

  test("holds nothing of a client that goes away in the middle of its body", async () => {
    const at = await start(transport);
    const before = await at.stat("cluster.ext_proc.upstream_rq_total");
    const sockets = Array.from({ length: 10 }, () => connectTcp(Number(new URL(at.url).port), "127.0.0.1"));
    for (const socket of sockets) {
      socket.on("error", () => undefined);
      socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${8 * MIB}\r\n\r\n`);
      socket.write(randomBytes(MIB));
    }
    await until("the gateway was asked", async () => (await at.stat("cluster.ext_proc.upstream_rq_total")) >= before + sockets.length);
    for (const socket of sockets) socket.destroy();
    await until("Envoy holds no request", async () => (await at.stat("http.aibrix.downstream_rq_active")) === 0);
    await expectNothingLeft(at);
  });

  test("waits for a body longer than Envoy waits for an answer", async () => {
    const at = await start(transport, { messageTimeout: "0.2s" });
    const body = bodyOf(32 * KIB);
    const socket = connectTcp(Number(new URL(at.url).port), "127.0.0.1");
    let received = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      received += text;
    });
    socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`);
    socket.write(body.subarray(0, 100));
    await until("the gateway was asked", async () => (await at.stat("cluster.ext_proc.upstream_rq_total")) >= 1);
    const started = performance.now();
    await until("Envoy's patience would be over", () => performance.now() - started > 400);
    expect(received).toBe("");
    socket.write(body.subarray(100));
    await until("the answer", () => received.includes(digest(body).sha256));
    socket.destroy();
  });

  test("gives answers back as they were, where Envoy sends them too", async () => {
    const at = await start(transport, { responses: true });
    const long = randomBytes(10 * MIB);
    for (const engine of engines) engine.handler = (_request, response) => response.end(long);
    const { body: got } = await request(`${at.url}/v1/completions`, { method: "POST", body: bodyOf(20) });
    expect(digest(Buffer.from(await got.arrayBuffer()))).toEqual(digest(long));
    for (const engine of engines) {
      engine.handler = (_request, response, body) => response.end(JSON.stringify({ engine: engine.name, ...digest(body) }));
    }
    for (const bytes of [20, 256 * KIB]) {
      const body = bodyOf(bytes);
      const answer = await at.call("/v1/completions", { body });
      expect(answer.status, answer.text).toBe(200);
      expect(answer.json).toMatchObject(digest(body));
    }
    const body = bodyOf(300 * KIB);
    expect(JSON.parse((await withTrailers(at.url, body)).text)).toMatchObject(digest(body));
    expect((await at.complete("nobody")).status).toBe(404);
    await expectNothingLeft(at);
  });

  test("believes the body alone, whatever headers say of its model", async () => {
    const at = await start(transport, { peek: true });
    for (const bytes of [20, 256 * KIB, 10 * MIB]) {
      const body = bodyOf(bytes);
      const answer = await at.call("/v1/completions", { body });
      expect(answer.status, answer.text).toBe(200);
      expect(answer.json).toMatchObject(digest(body));
    }
    const body = bodyOf(300 * KIB);
    const { text } = await withTrailers(at.url, body);
    expect(JSON.parse(text)).toMatchObject(digest(body));
    await at.stop();
    const plain = await start(transport);
    const forged = await plain.complete("nobody", { headers: { "x-gateway-model-peek": "base" } });
    expect(forged.status).toBe(404);
    await expectNothingLeft(plain);
  });

  test("picks among the endpoints that it may", async () => {
    const [, second] = engines;
    const at = await start(transport, { subset: ["127.0.0.1:1", `127.0.0.1:${second?.port}`] });
    for (let i = 0; i < 10; i++) expect((await at.complete("base")).json.engine).toBe("b");
  });

  test("is a 503 where it may pick none", async () => {
    const at = await start(transport, { subset: [] });
    const answer = await at.complete("base");
    expect(answer.status).toBe(503);
    expect(answer.json.error).toMatchObject({ code: "model_not_ready" });
    expect((await at.complete("nobody")).status).toBe(404);
  });
});
