import { mkdtemp, rm } from "node:fs/promises";
import { BlockList } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorBodySchema } from "@aibrix/api";
import { Validator } from "@seriousme/openapi-schema-validator";
import type { FastifyInstance } from "fastify";
import { Value } from "typebox/value";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeArtifacts, FakeEngine, fakeContent, NEVER, SILENT, testStore } from "../test/fakes.ts";
import { AdapterManager } from "./adapters/manager.ts";
import { Memory } from "./adapters/memory.ts";
import { build } from "./app.ts";
import { Checks } from "./artifact/check/checks.ts";
import { Transfers, UNLIMITED } from "./artifact/transfer/transfers.ts";
import { Egress } from "./egress/egress.ts";
import { KeyRing } from "./engine/key-ring.ts";
import { ENGINE_UNSEEN, EngineObserver, engineStatus } from "./engine/observer.ts";
import { Feed } from "./feed.ts";
import { createMetrics } from "./metrics.ts";
import { ModelDownloads } from "./models/downloads.ts";

let dir: string;
let app: FastifyInstance;
let egress: Egress;
let engine: FakeEngine;
let observer: EngineObserver;
let manager: AdapterManager;
let routes: Set<string>;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "app-"));
  engine = new FakeEngine();
  const artifacts = new FakeArtifacts();
  artifacts.byUrl.set("/one", fakeContent("one"));
  const keys = new KeyRing();
  observer = new EngineObserver({ engine, keys, log: SILENT });
  const feed = new Feed(engineStatus(engine, ENGINE_UNSEEN));
  const store = testStore(dir);
  const memory = new Memory(dir, SILENT);
  await memory.open();
  const metrics = createMetrics();
  manager = new AdapterManager({
    engine,
    observer,
    artifacts,
    store,
    memory,
    keys,
    metrics,
    feed,
    log: SILENT,
    now: Date.now,
    timeOf: (ms: number) => ms,
    maxLoraRank: undefined,
    probe: "auto",
    random: () => 0,
  });
  observer.onChange((view) => {
    feed.setEngine(engineStatus(engine, view));
  });
  egress = new Egress({ hosts: [], networks: new BlockList() }, {}, 1_000);
  const transfers = new Transfers(UNLIMITED, egress);
  app = build({
    engine,
    observer,
    manager,
    checks: new Checks({ env: {}, folders: store, egress, transfers }),
    downloads: new ModelDownloads({ modelsDir: join(dir, "models"), env: {}, egress, transfers, log: SILENT }),
    contents: store,
    maxLoraRank: undefined,
    feed,
    notReady: () => observer.view.message,
    metrics,
    log: SILENT,
    closing: NEVER,
  });
  routes = new Set();
  app.addHook("onRoute", ({ method, url }) => {
    for (const m of [method].flat()) if (m !== "HEAD") routes.add(`${m} ${url}`);
  });
});
afterEach(async () => {
  await egress.close();
  await app.close();
  await manager.close();
  await rm(dir, { recursive: true });
});

const post = async (path: string, payload: unknown) => {
  const response = await app.inject({
    method: "POST",
    url: `/v1/lora_adapter/${path}`,
    headers: { "content-type": "application/json" },
    payload: typeof payload === "string" ? payload : JSON.stringify(payload),
  });
  return { status: response.statusCode, body: response.json() as unknown };
};

test.each([
  { name: "no name", body: { artifact_url: "/x" }, says: "lora_name: is required" },
  { name: "no URL", body: { lora_name: "a" }, says: "artifact_url: is required" },
  { name: "a name that leaves its folder", body: { lora_name: "../x", artifact_url: "/x" }, says: "lora_name: must match" },
  { name: "a name that hides", body: { lora_name: ".state", artifact_url: "/x" }, says: "lora_name: must match" },
  { name: "a name that is too long", body: { lora_name: "a".repeat(64), artifact_url: "/x" }, says: "63" },
  { name: "a URL of no kind", body: { lora_name: "a", artifact_url: "ftp://x" }, says: "artifact_url: " },
  { name: "a URL that walks up", body: { lora_name: "a", artifact_url: "/x/../y" }, says: "artifact_url: " },
  { name: "a field that nobody knows", body: { lora_name: "a", artifact_url: "/x", lora_path: "/y" }, says: "lora_path: is not a field" },
  {
    name: "a number for a string",
    body: { lora_name: "a", artifact_url: "/x", additional_config: { "api-key": 1234567 } },
    says: "additional_config: ",
  },
  { name: "a list", body: [], says: "the body must be a JSON object" },
  { name: "no JSON", body: "{", says: "JSON" },
])("load with $name is 400 and says what to write", async ({ body, says }) => {
  const answer = await post("load", body);
  expect(answer.status).toBe(400);
  expect([...Value.Errors(ErrorBodySchema, answer.body)]).toEqual([]);
  expect(JSON.stringify(answer.body)).toContain(says);
  expect(JSON.stringify(answer.body)).not.toContain("1234567");
});

test("a body of 256 KiB is read, a longer one is 413", async () => {
  const body = JSON.stringify({ lora_name: "a", artifact_url: "/one" }).padEnd(256 * 1024);
  expect((await post("load", body)).status).toBe(202);
  expect(await post("load", `${body} `)).toMatchObject({ status: 413, body: { error: { code: "PayloadTooLarge", retryable: false } } });
});

test("load, list, models and unload", async () => {
  await observer.refresh(NEVER);
  expect(await post("load", { lora_name: "a", artifact_url: "/one" })).toMatchObject({ status: 202, body: { lora_name: "a" } });
  await vi.waitFor(async () => expect((await post("load", { lora_name: "a", artifact_url: "/one" })).status).toBe(200), { interval: 5 });
  const list = await app.inject("/v1/lora_adapters");
  expect(list.json()).toMatchObject({
    engine: { ready: true, base_models: ["base"] },
    adapters: [{ lora_name: "a", state: "Serving" }],
    manifest_problems: [],
  });
  const models = await app.inject("/v1/models");
  expect(models.json()).toMatchObject({ object: "list", data: [{ id: "base" }, { id: "a", root: "/store/one", parent: "base" }] });
  expect((await post("unload", { lora_name: "a", cleanup_local: true })).status).toBeOneOf([200, 202]);
  expect(await post("unload", { lora_name: "a", owner: "" })).toMatchObject({
    status: 400,
    body: { error: { message: expect.stringMatching(/^owner: .*; write who declares it/) } },
  });
  expect(await post("unload", { lora_name: "never" })).toMatchObject({
    status: 404,
    body: { error: { code: "NotFound", retryable: false } },
  });
});

test("models are not made up while the engine is away", async () => {
  const answer = await app.inject("/v1/models");
  expect(answer.statusCode).toBe(503);
  expect(answer.json()).toMatchObject({ error: { code: "EngineUnavailable", retryable: true } });
});

test("ready is the engine's, healthz our own", async () => {
  expect((await app.inject("/healthz")).statusCode).toBe(200);
  expect((await app.inject("/ready")).statusCode).toBe(503);
  await observer.refresh(NEVER);
  expect((await app.inject("/ready")).statusCode).toBe(200);
  engine.up = false;
  await observer.refresh(NEVER);
  const answer = await app.inject("/ready");
  expect([answer.statusCode, answer.body]).toEqual([503, "the engine is down\n"]);
});

test("metrics are ours and the engine's, each name once", async () => {
  await observer.refresh(NEVER);
  const both = (await app.inject("/metrics")).body;
  expect(both).toContain("\nvllm:num_requests_running 3\n");
  expect(both).toContain("\naibrix_runtime_engine_up 1\n");
  expect(both).toContain("\naibrix_runtime_process_cpu_seconds_total ");
  expect(both).not.toMatch(/^(process|nodejs)_/m);
  const names = [...both.matchAll(/^# TYPE (\S+)/gm)].map((m) => m[1]);
  expect(new Set(names).size).toBe(names.length);
  expect(both).toContain("\naibrix:queue_size 0\n");
  engine.up = false;
  expect((await app.inject("/metrics")).body).toContain('aibrix_runtime_engine_scrapes_total{result="failure"} 1\n');
});

test("an engine that sends something else than metrics spoils nothing", async () => {
  engine.metrics = async () => "<html>\n";
  const { statusCode, body } = await app.inject("/metrics");
  expect(statusCode).toBe(200);
  expect(body).toContain("aibrix_runtime_engine_up");
  expect(body).not.toContain("<html>");
});

test("many who scrape at once ask a slow engine once", async () => {
  let asked = 0;
  const answer = Promise.withResolvers<string>();
  engine.metrics = () => {
    asked += 1;
    return answer.promise;
  };
  const scrapes = [1, 2, 3].map(() => app.inject("/metrics"));
  await vi.waitFor(() => expect(asked).toBe(1), { interval: 5 });
  answer.resolve("up 1\n");
  for (const { body } of await Promise.all(scrapes)) expect(body).toContain("\nup 1\n");
  expect(asked).toBe(1);
});

test("an unknown path is 404 in the same shape", async () => {
  const answer = await app.inject("/v1/nothing?x=1");
  expect(answer.statusCode).toBe(404);
  expect(answer.json()).toEqual({ error: { code: "NotFound", message: "there is no GET /v1/nothing", retryable: false } });
});

test("every call is in the OpenAPI document, and every call of the document is here", async () => {
  const document = (await app.inject("/openapi.json")).json<{ paths: Record<string, Record<string, object>> }>();
  const told = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`),
  );
  expect(told.sort()).toEqual([...routes].sort());
  expect(await new Validator().validate(structuredClone(document))).toMatchObject({ valid: true });
});
