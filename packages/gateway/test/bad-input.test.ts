import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { envoyBootstrap } from "@aibrix/devcluster";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { JSON_PATHS } from "../src/http/paths.ts";
import { type BootstrapFor, type DataPath, type Reply, startDataPath, startDataPathWith } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { jsonText } from "./support/json-text.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const BODIES = 1_000;
const AT_ONCE = 32;

let engine: StandInEngine;
let runtime: FakeRuntime;
let path: DataPath;

beforeAll(async () => {
  engine = await new StandInEngine("a", ["base", "model"]).start();
  // As vLLM does: a body that is no JSON is a 400.
  engine.handler = (_request, response, body) => {
    const model = modelIn(body);
    const status = typeof model !== "string" ? 400 : engine.models.has(model) ? 200 : 404;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ engine: "a" }));
  };
  runtime = await new FakeRuntime(engine.url, ["base"]).start();
  runtime.setAdapter("model");
  path = await startDataPath([engine], [{ engine: engine.url, runtime: runtime.url }]);
});

afterAll(async () => {
  await path?.stop();
  await runtime?.stop();
  await engine?.stop();
});

const INVALID = Symbol("no JSON");

/** The model as a JSON parser has it, {@link INVALID} of what is no JSON in UTF-8. */
function modelIn(body: Buffer): unknown {
  try {
    return (JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body)) as { model?: unknown } | null)?.model;
  } catch {
    return INVALID;
  }
}

interface Bad {
  readonly kind: string;
  readonly path: string;
  readonly body: Buffer;
  readonly headers?: Record<string, string>;
}

const anyPath = fc.constantFrom(...JSON_PATHS);
const json = (kind: string, texts: fc.Arbitrary<string>): fc.Arbitrary<Bad> =>
  fc.tuple(anyPath, texts).map(([to, text]) => ({ kind, path: to, body: Buffer.from(text) }));
const good = fc.constantFrom('{"model":"base","prompt":"x"}', '{"messages":[{"role":"user","content":"a \\"b\\""}],"model":"model"}');
const damage = fc.constantFrom(0x00, 0x1f, 0x22, 0x2c, 0x3a, 0x5c, 0x5d, 0x7b, 0x7d, 0x80, 0xff);

const bodies: fc.Arbitrary<Bad> = fc.oneof(
  json(
    "cut short",
    fc.tuple(good, fc.nat({ max: 40 })).map(([text, n]) => text.slice(0, Math.min(n, text.length - 1))),
  ),
  json("any JSON", jsonText),
  // Envoy looks at the end of a long body alone, where it finds the model.
  json(
    "no JSON before its end",
    fc
      .tuple(
        fc.constantFrom(
          "",
          "{x",
          '{"x":tru',
          '{"x":1',
          '{"x":"a\nb"',
          '{"x":[1}',
          "[1",
          '{"a":1}{"x":1',
          '{"model":"nobody"}{"x":1',
          '{"x":"\\"',
        ),
        fc.constantFrom(3_000, 40_000, 100_000),
        fc.constantFrom("base", "model", "nobody"),
      )
      .map(([start, length, model]) => `${start},"prompt":"${"x".repeat(length)}","model":"${model}"}`),
  ),
  json(
    "a nested model",
    fc.constantFrom('{"x":{"model":"base"}}', '{"x":[{"model":"base"}],"y":"model"}', '{"x":"{\\"model\\":\\"base\\"}"}'),
  ),
  json(
    "a key twice",
    fc.constantFrom('{"model":"base","model":1}', '{"model":"base","model":"nobody"}', '{"model":"nobody","model":"base"}'),
  ),
  json("a huge number", fc.constantFrom(`{"model":${"9".repeat(5_000)}}`, `{"n":1e${"9".repeat(5_000)},"model":"base"}`, '{"model":-0.}')),
  json(
    "a wrong type",
    fc.constantFrom('{"model":[]}', '{"model":{"model":"base"}}', '{"model":true}', "[]", '"model"', "7", "null", '{"model":""}'),
  ),
  json(
    "a long name",
    fc.constantFrom("x".repeat(257), "x".repeat(100_000), "ö".repeat(300)).map((name) => JSON.stringify({ model: name })),
  ),
  json(
    "strange names",
    fc.constantFrom("a\u0000b", "a\r\nx-evil: 1", "%00", "../base", "base ", "\ud800").map((name) => JSON.stringify({ model: name })),
  ),
  json(
    "deep",
    fc.constantFrom("[", '{"model":').map((open) => `{"x":${open.repeat(20_000)}`),
  ),
  fc.tuple(anyPath, good, fc.nat(), damage).map(([to, text, at, byte]) => {
    const body = Buffer.from(text);
    body[at % body.length] = byte;
    return { kind: "a wrong byte", path: to, body };
  }),
  fc.tuple(anyPath, good, fc.constantFrom("gzip", "br", "zstd", "gzip, identity")).map(([to, text, encoding]) => ({
    kind: "compressed",
    path: to,
    body: gzipSync(text),
    headers: { "content-encoding": encoding },
  })),
  fc
    .tuple(
      fc.constantFrom("multipart/form-data; boundary=b", "multipart/form-data", "application/json", ""),
      fc.constantFrom(
        '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nnobody\r\n--b--\r\n',
        '--b\r\nContent-Disposition: form-data; name="model"; filename="m"\r\n\r\nbase\r\n--b--\r\n',
        '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n',
        '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nbase',
        "--b--\r\n",
        '{"model":"base"}',
      ),
    )
    .map(([type, text]) => ({
      kind: "a form",
      path: "/v1/audio/transcriptions",
      body: Buffer.from(text),
      headers: { "content-type": type },
    })),
);

/** Statuses that are right for a body. */
function right({ kind, body, headers }: Bad): readonly number[] {
  if (headers?.["content-encoding"] !== undefined) return [415];
  if (kind === "a form") return [400, 404];
  if (body.length === 0) return [400];
  const model = modelIn(body);
  if (typeof model === "string" && model !== "") return engine.models.has(model) ? [200] : [404];
  // What is no JSON may name a model that Envoy saw; the engine refuses it then, or nothing has that name.
  return model === INVALID ? [400, 404] : [400];
}

test(`${BODIES} bodies that are wrong in some way are each answered as they should be, and nothing is left of them`, async () => {
  const samples = fc.sample(bodies, { numRuns: BODIES, seed: 20_261_127 });
  const wrong: string[] = [];
  const rest = samples.values();
  const work = async (): Promise<void> => {
    for (const bad of rest) {
      const answer = await path.call(bad.path, {
        method: "POST",
        body: bad.body,
        headers: { "content-type": "application/json", ...bad.headers },
      });
      const isError = answer.status >= 400;
      const isFromGateway = answer.json?.engine === undefined;
      if (!right(bad).includes(answer.status) || (isError && isFromGateway && !hasOpenAiShape(answer)))
        wrong.push(
          `${bad.kind}: ${answer.status} for ${bad.body.toString("latin1").slice(0, 100)} at ${bad.path}: ${answer.text.slice(0, 200)}`,
        );
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  expect(wrong).toEqual([]);
  await expectNothingLeft();
});

function hasOpenAiShape({ json: answer, headers }: Reply): boolean {
  return typeof answer?.error?.message === "string" && headers["content-type"] === "application/json";
}

async function expectNothingLeft(): Promise<void> {
  await until("no stream is open", async () => (await path.stat("cluster.ext_proc.upstream_rq_active")) === 0);
  const metrics = await (await fetch(`${path.gatewayUrl}/metrics`)).text();
  expect(metrics).toContain("aibrix_gateway_defects_total 0");
  expect((await path.complete("base")).status).toBe(200);
}

test("10 MB of rubbish is refused, of a name too", async () => {
  const huge = Buffer.alloc(10 * MIB, "x");
  expect((await path.call("/v1/completions", { body: huge })).status).toBe(400);
  const name = await path.call("/v1/completions", { body: JSON.stringify({ model: huge.toString() }) });
  expect(name.status).toBe(404);
  expect(name.text.length).toBeLessThan(1_000);
  await expectNothingLeft();
});

const BODY = JSON.stringify({ prompt: "x".repeat(64 * 1024), model: "base" });
const HEAD = `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n`;

async function open(url = path.url): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** Everything that comes on a socket. */
function received(socket: Socket): () => string {
  let all = "";
  socket.setEncoding("utf8").on("data", (text: string) => {
    all += text;
  });
  return () => all;
}

const ENVOY_READ = "http.aibrix.downstream_cx_rx_bytes_total";
const ENVOY_HAS = "http.aibrix.downstream_rq_active";

test("a body that comes slowly is answered once it is there", async () => {
  const socket = await open();
  const answer = received(socket);
  const before = await path.stat(ENVOY_READ);
  let sent = 0;
  /** What comes next goes out when Envoy has read this: each is a read of its own. */
  const send = async (part: string): Promise<void> => {
    socket.write(part);
    sent += part.length;
    await until("Envoy has read it", async () => (await path.stat(ENVOY_READ)) - before >= sent);
  };
  engine.seen.length = 0;
  await send(HEAD);
  for (let at = 0; at < BODY.length; at += 8_192) {
    await until("Envoy has the request", async () => (await path.stat(ENVOY_HAS)) === 1);
    expect(engine.count).toBe(0);
    await send(BODY.slice(at, at + 8_192));
  }
  await until("the answer", () => answer().startsWith("HTTP/1.1 200"));
  expect(engine.seen.filter(({ method }) => method === "POST").map(({ bodyBytes }) => bodyBytes)).toEqual([BODY.length]);
  socket.destroy();
});

/** The model is swapped: its requests are held. */
const HELD = request("swapped");

test.each([
  { when: "in the head", send: HEAD.slice(0, 40), asks: false },
  { when: "before the body", send: HEAD, asks: false },
  { when: "in the body", send: HEAD + BODY.slice(0, 1_000), asks: false },
  { when: "while its model is waited for", send: HELD, asks: true },
  { when: "while the engine thinks", send: HEAD + BODY, asks: true },
])("a client that goes away $when leaves nothing behind", async ({ send, asks }) => {
  const { handler } = engine;
  let reached = 0;
  engine.handler = () => {
    reached++; // It never answers.
  };
  if (send === HELD) runtime.setAdapter("swapped", { serving: null, state: "Updating" });
  const asked = "cluster.ext_proc.upstream_rq_total";
  const aborted = "http.aibrix.downstream_cx_destroy_remote_active_rq";
  const before = { read: await path.stat(ENVOY_READ), asked: await path.stat(asked), aborted: await path.stat(aborted) };
  const sockets = await Promise.all(Array.from({ length: 20 }, () => open()));
  for (const socket of sockets) socket.write(send);
  const sent = sockets.length * send.length;
  await until("Envoy has read it", async () => (await path.stat(ENVOY_READ)) - before.read >= sent);
  if (asks) await until("the gateway was asked", async () => (await path.stat(asked)) >= before.asked + sockets.length);
  if (send === HEAD + BODY) await until("the engine was reached", () => reached === sockets.length);
  await until("Envoy has the requests", async () => (await path.stat(ENVOY_HAS)) === sockets.length);
  for (const socket of sockets) socket.destroy();
  await until("Envoy knows that they are gone", async () => (await path.stat(aborted)) - before.aborted === sockets.length);
  engine.handler = handler;
  await until("Envoy holds no request", async () => (await path.stat(ENVOY_HAS)) === 0);
  await expectNothingLeft();
});

function request(model: string): string {
  const body = JSON.stringify({ model });
  return `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

/** Envoy as it ships, but that it waits for a whole request for two seconds only. */
const impatient: BootstrapFor = ({ listenPort, adminPort, grpcPort }) => {
  // biome-ignore lint/suspicious/noExplicitAny: Envoy's configuration is JSON without types here.
  const bootstrap: any = envoyBootstrap({
    listenPort,
    adminPort,
    extProc: { host: "127.0.0.1", port: grpcPort },
    engines: [{ host: "127.0.0.1", port: engine.port }],
  });
  const manager = bootstrap.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
  expect(manager.request_timeout).toBe("300s");
  manager.request_timeout = "2s";
  return bootstrap;
};

test("a body that stops midway is answered 408 in its time, and nothing is left of it, whoever waits for it", async () => {
  const quick = await startDataPathWith(impatient, [{ engine: engine.url, runtime: runtime.url }]);
  try {
    const form = (bytes: number) =>
      `POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: ${bytes}\r\n\r\n`;
    // Envoy's script waits for the one, and for the other the gateway has asked.
    for (const send of [HEAD + BODY.slice(0, 1_000), `${form(1_000)}--b\r\n`]) {
      const socket = await open(quick.url);
      const answer = received(socket);
      socket.write(send);
      await until("the answer", () => answer().includes("}}"));
      expect(answer()).toMatch(/^HTTP\/1\.1 408 /);
      expect(JSON.parse(answer().slice(answer().indexOf("{")))).toMatchObject({
        error: { type: "invalid_request_error", param: null, code: "request_timeout" },
      });
      await until("its connection is closed", () => socket.closed);
      await until("Envoy holds no request", async () => (await quick.stat(ENVOY_HAS)) === 0);
      await until("no call is open", async () => (await quick.stat("cluster.ext_proc.upstream_rq_active")) === 0);
    }
    // An engine may think for longer than a request may take to come.
    const { handler } = engine;
    engine.handler = (_, response) => void setTimeout(() => response.end("{}"), 4_000);
    expect((await quick.complete("base")).status).toBe(200);
    engine.handler = handler;
  } finally {
    await quick.stop();
  }
});

test.each([
  { where: "before the model", text: (value: string) => `{"temperature":${value},"model":"base"}` },
  { where: "behind the model", text: (value: string) => `{"model":"base","temperature":${value}}` },
  { where: "far before the model", text: (value: string) => `{"temperature":${value},"prompt":"${"x".repeat(3_000)}","model":"base"}` },
  { where: "nested", text: (value: string) => `{"x":[${value}],"model":"base"}` },
])("numbers that are no JSON, but that vLLM's parser takes, are the engine's affair $where", async ({ text }) => {
  const { handler } = engine;
  engine.handler = (_request, response) => response.writeHead(400).end("temperature must be a finite number");
  for (const value of ["NaN", "Infinity", "-Infinity"]) {
    const answer = await path.call("/v1/completions", { body: text(value) });
    expect([answer.status, answer.text]).toEqual([400, "temperature must be a finite number"]);
  }
  engine.handler = handler;
});
