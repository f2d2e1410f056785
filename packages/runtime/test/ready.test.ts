import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { writeAdapter } from "@aibrix/devcluster";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DECLARE_HOLD_MS } from "../src/adapters/restore-gate.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { eventually, type Runtime, World } from "./support/world.ts";

const IN_POD = { KUBERNETES_SERVICE_HOST: "127.0.0.1" };

let world: World;
let engine: Program;
/** Takes requests and answers none. */
let silent: Server;
let slowUrl: string;

beforeEach(async () => {
  world = new World();
  engine = await world.engine();
  silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  slowUrl = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/slow.tar.gz`;
  await writeAdapter(world.path("local"), { seed: 5 });
});
afterEach(async () => {
  await stopPrograms();
  silent.closeAllConnections();
  silent.close();
  world.remove();
});

const engineAnswers = (runtime: Runtime) => eventually(async () => expect((await runtime.snapshot()).engine.ready).toBe(true));
const ready = (runtime: Runtime) => runtime.text("/ready");
const restores = async (runtime: Runtime) =>
  Number(/^aibrix_runtime_restore_seconds_count (\d+)$/m.exec((await runtime.text("/metrics")).text)?.[1]);

test("a new pod that nobody has probed yet waits for what is declared late; only a probe's 200 ends that", async () => {
  const runtime = await world.runtime(engine.url, { env: IN_POD });
  await engineAnswers(runtime);
  const sinceMs = performance.now();
  await eventually(() => expect(performance.now() - sinceMs).toBeGreaterThan(DECLARE_HOLD_MS));
  await runtime.load("slow", slowUrl);
  expect(await ready(runtime)).toEqual({ status: 503, text: "adapters are being put back: slow\n" });
  await runtime.post("unload", { lora_name: "slow" });
  await eventually(async () => expect((await ready(runtime)).status).toBe(200));
  await runtime.load("slow", slowUrl);
  expect((await ready(runtime)).status).toBe(200);
});

test("outside of a pod, whoever follows is no controller: nothing new is waited for", async () => {
  const runtime = await world.runtime(engine.url);
  const stop = new AbortController();
  const watch = await fetch(`${runtime.url}/v1/lora_adapters?watch=true`, { signal: stop.signal });
  try {
    expect(watch.status).toBe(200);
    await engineAnswers(runtime);
    await runtime.load("slow", slowUrl);
    expect((await ready(runtime)).status).toBe(200);
  } finally {
    stop.abort();
  }
});

test("a runtime that is restarted beside an engine that serves waits for what is remembered alone, and times that alone", async () => {
  const first = await world.runtime(engine.url, { env: IN_POD });
  await first.load("a", world.path("local"));
  await first.serves("a");
  await eventually(async () => expect((await ready(first)).status).toBe(200));
  expect(await restores(first)).toBe(0);
  const remembered = join(world.artifacts, ".state", "declared.json");
  await eventually(() => expect(JSON.parse(readFileSync(remembered, "utf8"))).toMatchObject({ was_ready: true }));
  await first.program.kill();
  const again = await world.runtime(engine.url, { env: IN_POD });
  await again.load("slow", slowUrl);
  await again.serves("a");
  expect(await ready(again)).toEqual({ status: 200, text: "ok\n" });
  expect(await restores(again)).toBe(1);
});
