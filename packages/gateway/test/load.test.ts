import { afterAll, beforeAll, expect, test } from "vitest";
import { type DataPath, startDataPath } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { load } from "./support/load.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";

const REQUESTS = 100_000;
const CONCURRENCY = 64;

let engine: StandInEngine;
let runtime: FakeRuntime;
let path: DataPath;

beforeAll(async () => {
  engine = await new StandInEngine("a", ["base", "lora"]).start();
  runtime = await new FakeRuntime(engine.url, ["base"]).start();
  runtime.setAdapter("lora");
  // One worker of Envoy holds one connection to the gateway.
  path = await startDataPath([engine], [{ engine: engine.url, runtime: runtime.url }], ["--concurrency", "1"]);
});

afterAll(async () => {
  await path?.stop();
  await runtime?.stop();
  await engine?.stop();
});

test(`${REQUESTS} requests over one ext_proc connection, none fails`, { timeout: 600_000 }, async () => {
  const body = JSON.stringify({ model: "lora", prompt: "x", max_tokens: 1 });
  const result = await load(path.url, "/v1/completions", body, REQUESTS, CONCURRENCY);

  const seconds = result.durationMs / 1000;
  process.stdout.write(`${result.sent} requests in ${seconds.toFixed(1)} s: ${Math.round(result.sent / seconds)} per second\n`);
  expect(Object.fromEntries(result.failures)).toEqual({});
  expect(engine.count).toBe(REQUESTS);
  expect(await path.stat("cluster.ext_proc.upstream_cx_total")).toBe(1);
});
