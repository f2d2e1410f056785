import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DataPath, startDataPath } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { load } from "./support/load.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";

/** On one connection, by the default transport. */
const REQUESTS = Number(process.env.AIBRIX_TEST_REQUESTS ?? 40_000);
const CONCURRENCY = 64;

/** The default in full. The others are to keep what they have; more is a run of the bench's soak. */
const SERVERS = [
  { transport: "own", resets: false, requests: REQUESTS },
  { transport: "own", resets: true, requests: REQUESTS },
  { transport: "node-http2", resets: false, requests: REQUESTS / 5 },
  { transport: "node-http2", resets: true, requests: REQUESTS / 5 },
  { transport: "grpc-js", resets: false, requests: REQUESTS / 5 },
  { transport: "grpc-js", resets: true, requests: REQUESTS / 5 },
] as const;

describe.each(SERVERS)("$transport, Envoy resets its calls: $resets", ({ transport, resets, requests }) => {
  let engine: StandInEngine;
  let runtime: FakeRuntime;
  let path: DataPath;

  beforeAll(async () => {
    engine = await new StandInEngine("a", ["base", "lora"]).start();
    runtime = await new FakeRuntime(engine.url, ["base"]).start();
    runtime.setAdapter("lora");
    // One worker of Envoy holds one connection to the gateway.
    const envoyArgs = ["--concurrency", "1"];
    const gatewayArgs = [`--grpc-transport=${transport}`];
    path = await startDataPath([engine], [{ engine: engine.url, runtime: runtime.url }], { envoyArgs, gatewayArgs, resets });
  });

  afterAll(async () => {
    await path?.stop();
    await runtime?.stop();
    await engine?.stop();
  });

  test(`${requests} requests over one ext_proc connection, none fails`, { timeout: 900_000 }, async () => {
    const body = JSON.stringify({ model: "lora", prompt: "x", max_tokens: 1 });
    const result = await load(path.url, "/v1/completions", body, requests, CONCURRENCY);

    const seconds = result.durationMs / 1000;
    process.stdout.write(`${result.sent} requests in ${seconds.toFixed(1)} s: ${Math.round(result.sent / seconds)} per second\n`);
    expect(Object.fromEntries(result.failures)).toEqual({});
    expect(engine.count).toBe(requests);
    expect(await path.stat("cluster.ext_proc.upstream_cx_total")).toBe(1);
    // Else a mistake in the configuration would make both cases one.
    expect((await path.stat("cluster.ext_proc.upstream_rq_tx_reset")) > 0).toBe(resets);
  });
});
