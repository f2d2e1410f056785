import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type DataPath, startDataPath } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { load } from "./support/load.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

let a: StandInEngine;
let b: StandInEngine;
/** In Envoy's cluster, without the adapter: no request of it may arrive here. */
let without: StandInEngine;
let runtimes: FakeRuntime[];
let path: DataPath;

beforeAll(async () => {
  a = await new StandInEngine("a", ["base", "lora"]).start();
  b = await new StandInEngine("b", ["base", "lora"]).start();
  without = await new StandInEngine("without", ["base"]).start();
  runtimes = await Promise.all([a, b, without].map((engine) => new FakeRuntime(engine.url, ["base"]).start()));
  runtimes[0]?.setAdapter("lora");
  runtimes[1]?.setAdapter("lora");
  runtimes[0]?.setAdapter("only-a");
  a.models.add("only-a");
  path = await startDataPath(
    [a, b, without],
    [a, b, without].map((engine, i) => ({ engine: engine.url, runtime: runtimes[i]?.url ?? "" })),
  );
});

afterAll(async () => {
  await path?.stop();
  await Promise.all([a, b, without, ...(runtimes ?? [])].map((part) => part?.stop()));
});

beforeEach(() => {
  for (const engine of [a, b, without]) {
    engine.seen.length = 0;
    engine.handler = undefined;
  }
});

test.each([404, 503])("an engine's %i is tried again on the next engine that serves the model", async (status) => {
  a.handler = (_request, response) => response.writeHead(status).end("{}");
  const answers = await Promise.all(Array.from({ length: 30 }, () => path.complete("lora")));
  expect(answers.map((r) => [r.status, r.json.engine])).toEqual(Array.from({ length: 30 }, () => [200, "b"]));
  expect(a.count).toBeGreaterThan(0);
  expect(without.count).toBe(0);
});

test("the whole body is sent again", async () => {
  a.handler = (_request, response) => response.writeHead(404).end("{}");
  const body = JSON.stringify({ model: "lora", prompt: "x".repeat(2 * 1024 * 1024) });
  const answers = await Promise.all(Array.from({ length: 8 }, () => path.complete("lora", { body })));
  expect(answers.map((r) => [r.status, r.json.bodyBytes])).toEqual(Array.from({ length: 8 }, () => [200, body.length]));
  expect(a.count).toBeGreaterThan(0);
});

test("a model of one engine is tried again on that engine alone, until it serves it", async () => {
  let calls = 0;
  a.handler = (_request, response) => {
    calls += 1;
    response.writeHead(calls <= 3 ? 404 : 200, { "content-type": "application/json" }).end('{"engine":"a"}');
  };
  const answer = await path.complete("only-a");
  expect([answer.status, answer.json.engine, calls]).toEqual([200, "a", 4]);
  expect(b.count + without.count).toBe(0);
});

test("an engine's lasting 404 reaches the client as the engine gave it", async () => {
  a.handler = (_request, response) => response.writeHead(404).end('{"error":{"message":"gone","code":404}}');
  const answer = await path.complete("only-a");
  expect([answer.status, answer.json.error.message]).toEqual([404, "gone"]);
  expect(a.count).toBe(6);
  expect(b.count + without.count).toBe(0);
});

test("other errors of an engine are not tried again", async () => {
  a.handler = (_request, response) => response.writeHead(500).end('{"error":{"message":"bad"}}');
  expect((await path.complete("only-a")).status).toBe(500);
  expect(a.count).toBe(1);
});

test("a dead engine is skipped, also before its runtime says so, and used again when it is back", async () => {
  await a.stop();
  const result = await load(path.url, "/v1/completions", '{"model":"lora"}', 300, 16);
  expect(Object.fromEntries(result.failures)).toEqual({});
  expect(b.count).toBe(300);
  expect(without.count).toBe(0);
  await a.start();
  await until("it is used again", async () => {
    await path.complete("lora");
    return a.count > 0;
  });
});

test("no engine that answers is a 503 in OpenAI's shape", async () => {
  await a.stop();
  const answer = await path.complete("only-a");
  await a.start();
  expect(answer.status).toBe(503);
  expect(answer.headers["content-type"]).toBe("application/json");
  expect(answer.headers["retry-after"]).toBe("2");
  expect(answer.json.error).toMatchObject({ type: "server_error", param: null, code: "engine_unavailable" });
  expect(b.count + without.count).toBe(0);
});
