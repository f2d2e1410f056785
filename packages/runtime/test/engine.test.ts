import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Hub, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Program, stopPrograms } from "./support/program.ts";
import { complete, engineModels, eventually, loadsOf, type Runtime, World } from "./support/world.ts";

const KEY = "sk-test-key-of-the-engine";

let world: World;
let hub: Hub;
let hubCalls: number;
const HUB = () => ({ HF_ENDPOINT: hub.url });

beforeEach(async () => {
  world = new World();
  hubCalls = 0;
  for (const [repo, seed] of [
    ["acme/a", 1],
    ["acme/b", 2],
  ] as const)
    await writeAdapter(world.path(`hub/${repo}`), { seed });
  hub = await startHub({ root: world.path("hub"), onCall: () => (hubCalls += 1) });
});
afterEach(async () => {
  await stopPrograms();
  await hub.close();
  world.remove();
});

const portOf = (program: Program) => new URL(program.url).port;

async function loaded(runtime: Runtime, ...names: readonly string[]): Promise<void> {
  for (const name of names) await runtime.load(name, `hf://acme/${name}`);
  for (const name of names) await runtime.serves(name);
}

test("an engine that is killed: the adapter is told as gone at once, and put back from the files that are here", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await loaded(runtime, "a", "b");
  const answer = await complete(engine, "a");
  await hub.close();
  const asked = hubCalls;
  await engine.kill();
  await runtime.until("a", { state: "Pending", reason: "EngineUnavailable", serving: null });
  expect((await runtime.text("/ready")).status).toBe(503);
  expect((await runtime.text("/healthz")).status).toBe(200);
  const next = await world.engine({ port: portOf(engine) });
  await runtime.serves("a");
  await runtime.serves("b");
  await eventually(async () => expect((await runtime.text("/ready")).status).toBe(200));
  expect((await complete(next, "a")).text.replace(/"(id|created)":[^,]*/g, "")).toBe(answer.text.replace(/"(id|created)":[^,]*/g, ""));
  expect(hubCalls).toBe(asked);
  expect((await runtime.text("/metrics")).text).toMatch(/^aibrix_runtime_repairs_total 2$/m);
  expect(runtime.program.output()).toContain("repaired");
});

test("rank, times and limits are told", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: HUB(), args: ["--max-lora-rank=8"] });
  await loaded(runtime, "a");
  const times = { download_ms: expect.any(Number), load_ms: expect.any(Number) };
  await runtime.until("a", { max_rank: 8, timings: times });
  expect((await runtime.snapshot()).engine.limits).toMatchObject({ max_lora_rank: 8 });
  // The engine's metrics show its slots once a request has run under an adapter's name.
  await complete(engine, "a");
  await eventually(async () => expect((await runtime.snapshot()).engine.limits).toEqual({ max_loras: 2, max_lora_rank: 8 }));
});

test("what one owner declared is kept from others, also over a restart", async () => {
  const engine = await world.engine();
  const first = await world.runtime(engine.url, { env: HUB() });
  const mine = { owner: "modeladapter/default/a/uid-1" };
  await first.load("a", "hf://acme/a", mine);
  await first.load("b", "hf://acme/b");
  await first.until("a", { state: "Serving", ...mine });
  await first.until("b", { state: "Serving", owner: null });
  await first.program.kill();
  const runtime = await world.runtime(engine.url, { env: HUB() });
  for (const name of ["a", "b"]) await runtime.serves(name);
  const refused = { status: 409, body: { error: { code: "NotOurs", retryable: false, message: expect.stringContaining("default/a") } } };
  expect(await runtime.load("a", "hf://acme/b")).toMatchObject(refused);
  expect(await runtime.load("a", "hf://acme/b", { owner: "ci" })).toMatchObject(refused);
  expect(await runtime.post("unload", { lora_name: "a" })).toMatchObject(refused);
  expect(await runtime.load("b", "hf://acme/a", mine)).toMatchObject({ status: 409, body: { error: { code: "NotOurs" } } });
  expect(await runtime.post("unload", { lora_name: "b", ...mine })).toMatchObject({ status: 409 });
  const again = { owner: "modeladapter/default/a/uid-2" };
  expect(await runtime.load("a", "hf://acme/a", again)).toMatchObject({ status: 200, body: again });
  expect(await runtime.post("unload", { lora_name: "a", ...mine })).toMatchObject({ status: 409 });
  expect(await runtime.load("b", "hf://acme/b", { owner: "ci", adopt: true })).toMatchObject({ status: 200, body: { owner: "ci" } });
  expect(loadsOf(engine, "a")).toBe(1);
  expect((await runtime.post("unload", { lora_name: "a", ...again })).status).toBeLessThan(300);
  await runtime.gone("a");
  expect(await engineModels(engine)).not.toHaveProperty("a");
});

test("an adapter serves once the engine has answered under its name, and a restart of the engine asks for no second answer", async () => {
  const engine = await world.engine();
  const answers = async (of: Program) =>
    Number(
      /^vllm:request_success_total\{.*finished_reason="length".*\} (\S+)$/m.exec(await (await fetch(`${of.url}/metrics`)).text())?.[1],
    );
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await loaded(runtime, "a");
  await runtime.until("a", { probed: "served" });
  expect(await answers(engine)).toBe(1);
  await engine.kill();
  const next = await world.engine({ port: portOf(engine) });
  await runtime.serves("a");
  expect(await answers(next)).toBe(0);
  await runtime.load("b", "hf://acme/b", { probe: "off" });
  await runtime.until("b", { state: "Serving", probed: "off" });
  expect(await answers(next)).toBe(0);
});

test("an engine without completions is not asked for one, and the runtime's flag asks none for any", async () => {
  const embeds = await world.engine({ args: ["--runner", "pooling"] });
  const runtime = await world.runtime(embeds.url, { env: HUB() });
  await loaded(runtime, "a");
  await runtime.until("a", { probed: "notNeeded" });
  await runtime.program.kill();
  await embeds.kill();
  const off = await world.runtime((await world.engine()).url, { env: HUB(), args: ["--probe=off"] });
  await off.load("b", "hf://acme/b");
  await off.until("b", { state: "Serving", probed: "off" });
});

test("an adapter that somebody unloads is put back", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await loaded(runtime, "a");
  const body = JSON.stringify({ lora_name: "a" });
  await fetch(`${engine.url}/v1/unload_lora_adapter`, { method: "POST", headers: { "content-type": "application/json" }, body });
  await eventually(() => expect(runtime.program.output()).toContain("repaired"));
  await runtime.serves("a");
  expect(Object.keys(await engineModels(engine))).toContain("a");
});

test("an engine that comes late gets what was declared meanwhile", async () => {
  const first = await world.engine();
  const port = portOf(first);
  await first.kill();
  const runtime = await world.runtime(first.url, { env: HUB() });
  await runtime.load("a", "hf://acme/a");
  const status = await runtime.until("a", { state: "Pending", reason: "EngineUnavailable", content_digest: expect.any(String) });
  expect(status.message).toMatch(/does not answer \(ECONNREFUSED\).*check that it runs/);
  expect(await runtime.snapshot()).toMatchObject({ engine: { ready: false, base_models: [] } });
  await world.engine({ port });
  expect(await runtime.serves("a")).toMatchObject({ attempts: 0 });
});

test("an engine that takes no adapters while it runs: how to start it is told, and one started so gets the adapter", async () => {
  const engine = await world.engine({ env: { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "0" } });
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await runtime.load("a", "hf://acme/a");
  expect((await runtime.failed("a", "EngineRuntimeUpdatingDisabled")).message).toContain("VLLM_ALLOW_RUNTIME_LORA_UPDATING=True");
  await engine.kill();
  await world.engine({ port: portOf(engine) });
  await runtime.serves("a");
});

test("older releases' form of errors is understood", async () => {
  const engine = await world.engine({ args: ["--mock-error-shape", "flat"] });
  const runtime = await world.runtime(engine.url);
  await writeAdapter(world.path("rank16"), { seed: 1, rank: 16 });
  await runtime.load("a", world.path("rank16"));
  expect((await runtime.failed("a", "EngineRefused")).message).toContain("--max-lora-rank 16");
});

test("static adapters are left alone, and their names told", async () => {
  await writeAdapter(world.path("static"), { seed: 9 });
  const engine = await world.engine({ args: ["--lora-modules", `a=${world.path("static")}`] });
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await runtime.load("a", "hf://acme/a");
  expect((await runtime.failed("a", "NameConflict")).message).toContain(world.path("static"));
  const ended = { status: 200, body: { serving: null, message: expect.stringMatching(/^it is unloaded/) } };
  expect(await runtime.post("unload", { lora_name: "a" })).toMatchObject(ended);
  await runtime.load("qwen-coder-1-5b-instruct", "hf://acme/b");
  expect((await runtime.failed("qwen-coder-1-5b-instruct", "NameConflict")).message).toContain("base model");
  expect(await engineModels(engine)).toMatchObject({ a: world.path("static") });
});

test("an engine with a key: without it the state says what to set; with it the adapter serves; the key appears nowhere", async () => {
  const engine = await world.engine({ env: { VLLM_API_KEY: KEY } });
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await eventually(async () =>
    expect(await runtime.snapshot()).toMatchObject({
      engine: { ready: true, base_models: [], message: expect.stringContaining("api-key") },
    }),
  );
  await runtime.load("a", "hf://acme/a");
  expect((await runtime.failed("a", "EngineUnauthorized")).message).toMatch(
    /wants an API key.*additionalConfig\.api-key or apiKeySecretRef/,
  );
  await runtime.load("b", "hf://acme/b", { additional_config: { "api-key": "sk-wrong" } });
  await runtime.failed("b", "EngineUnauthorized");
  expect((await runtime.load("a", "hf://acme/a", { additional_config: { "api-key": KEY } })).status).toBe(202);
  await runtime.serves("a");
  expect(await engineModels(engine, KEY)).toHaveProperty("a");
  await runtime.failed("b", "EngineUnauthorized");

  await runtime.program.stop();
  const again = await world.runtime(engine.url, { env: HUB() });
  expect((await again.failed("a", "EngineUnauthorized")).message).toContain("api-key");
  await again.load("a", "hf://acme/a", { additional_config: { "api-key": KEY } });
  await again.serves("a");

  const seen =
    [runtime, again].map((r) => r.program.output()).join("\n") +
    JSON.stringify(await again.snapshot()) +
    (await again.text("/metrics")).text;
  const kept = readFileSync(join(world.artifacts, ".state/declared.json"), "utf8");
  const arguments_ = existsSync("/proc") ? readFileSync(`/proc/${again.program.pid}/cmdline`, "utf8") : "";
  expect(seen + kept + arguments_).not.toMatch(/sk-/);
  expect(seen).toContain("additionalConfig.api-key");
});

test("a mounted key serves adapters that bring none, also after a restart of the runtime, and one that changes is read anew", async () => {
  const keyFile = world.path("engine-key");
  await writeFile(keyFile, "sk-old\n");
  const engine = await world.engine({ env: { VLLM_API_KEY: KEY } });
  const options = { env: HUB(), args: [`--engine-api-key-file=${keyFile}`] };
  const runtime = await world.runtime(engine.url, options);
  await runtime.load("a", "hf://acme/a");
  await runtime.failed("a", "EngineUnauthorized");
  await writeFile(keyFile, `${KEY}\n`);
  await eventually(async () => expect(await runtime.snapshot()).toMatchObject({ engine: { base_models: [expect.any(String)] } }));
  await runtime.load("a", "hf://acme/a");
  await runtime.serves("a");
  await runtime.load("b", "hf://acme/b", { additional_config: { "api-key": KEY } });
  await runtime.serves("b");
  await runtime.program.kill();
  await engine.kill();
  const next = await world.engine({ env: { VLLM_API_KEY: KEY }, port: portOf(engine) });
  const again = await world.runtime(next.url, options);
  await again.serves("a");
  await again.serves("b");
  expect(runtime.program.output() + again.program.output()).not.toMatch(/sk-/);
});

test("unload takes it out of the engine; its files stay until that engine process is gone", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await loaded(runtime, "a", "b");
  expect((await runtime.post("unload", { lora_name: "a", cleanup_local: true })).status).toBeOneOf([200, 202]);
  await runtime.gone("a");
  expect(Object.keys(await engineModels(engine))).not.toContain("a");
  expect((await complete(engine, "a")).status).toBe(404);
  expect(existsSync(join(world.artifacts, "a"))).toBe(true);
  expect((await runtime.post("unload", { lora_name: "a" })).status).toBe(404);
  await engine.kill();
  await world.engine({ port: portOf(engine) });
  await eventually(() => expect(existsSync(join(world.artifacts, "a"))).toBe(false));
  await runtime.serves("b");
});

test("the runtime's own restart changes nothing in the engine, and asks nobody", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await loaded(runtime, "a");
  expect(loadsOf(engine, "a")).toBe(1);
  await runtime.program.kill();
  await hub.close();
  const again = await world.runtime(engine.url, { env: HUB() });
  await again.serves("a");
  await eventually(async () => expect((await again.text("/ready")).status).toBe(200));
  expect(loadsOf(engine, "a")).toBe(1);
});

test("after a restart of both, the adapter is put back without the network; half downloads are swept", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await loaded(runtime, "a");
  await runtime.program.kill();
  await engine.kill();
  await hub.close();
  // Of the names that the store gives; a file of somebody else would stay.
  const half = join(world.artifacts, ".tmp", randomUUID());
  await writeFile(half, "x");
  const next = await world.engine({ port: portOf(engine) });
  const again = await world.runtime(next.url, { env: HUB() });
  await again.serves("a");
  await eventually(async () => expect((await again.text("/ready")).status).toBe(200));
  expect(existsSync(half)).toBe(false);
});

test("files that are read in place are checked again before each load", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url);
  await writeAdapter(world.path("local"), { seed: 5 });
  await runtime.load("a", world.path("local"));
  const before = await runtime.serves("a");
  await engine.kill();
  await runtime.until("a", { serving: null });
  await writeAdapter(world.path("local"), { seed: 6 });
  const second = await world.engine({ port: portOf(engine) });
  expect((await runtime.serves("a")).content_digest).not.toBe(before.content_digest);
  await second.kill();
  await runtime.until("a", { serving: null });
  await truncate(join(world.path("local"), "adapter_model.safetensors"), 5_000);
  const third = await world.engine({ port: portOf(engine) });
  expect((await runtime.failed("a", "ArtifactInvalid")).message).toContain("truncated");
  expect(third.output()).not.toContain("LoRA adapter");
});

test("one bad adapter holds back neither readiness nor the others", async () => {
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: HUB() });
  await runtime.load("bad", "/does/not/exist");
  await runtime.failed("bad", "ArtifactNotFound");
  await loaded(runtime, "a");
  expect((await runtime.text("/ready")).status).toBe(200);
  await runtime.program.stop();
  const again = await world.runtime(engine.url, { env: HUB() });
  await eventually(async () => expect((await again.text("/ready")).status).toBe(200));
  await again.failed("bad", "ArtifactNotFound");
});
