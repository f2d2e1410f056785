import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isSmokeName, type SmokeCheck } from "@aibrix/api";
import { type Hub, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Program, stopPrograms } from "./support/program.ts";
import { engineModels, eventually, type Runtime, World } from "./support/world.ts";

/*
 * Prompts that new content answers before it is served, on the mock engine, whose answers name the model and the weights that gave them.
 */

let world: World;
let hub: Hub;
let engine: Program;
let runtime: Runtime;
/** Of the new content. */
let weights: string;

const start = () => world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url } });

beforeEach(async () => {
  world = new World();
  for (const [repo, seed] of Object.entries({ one: 1, two: 2, three: 3 })) await writeAdapter(world.path(`hub/acme/${repo}`), { seed });
  const file = await readFile(world.path("hub/acme/two/adapter_model.safetensors"));
  weights = createHash("sha256").update(file).digest("hex").slice(0, 12);
  hub = await startHub({ root: world.path("hub") });
  engine = await world.engine({ args: ["--max-model-len", "512"] });
  runtime = await start();
  await runtime.load("x", "hf://acme/one");
  await runtime.serves("x");
});
afterEach(async () => {
  await stopPrograms();
  await hub.close();
  world.remove();
});

function check(expected: Partial<SmokeCheck["expect"]> = {}, more: Partial<SmokeCheck> = {}): SmokeCheck {
  const expects = { status: 200, not_empty: true, max_latency_ms: 30_000, ...expected };
  return { ...("messages" in more ? {} : { prompt: "hello" }), max_tokens: 4, ...more, expect: expects };
}

async function prepare(repo: string, checks: readonly SmokeCheck[]): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${runtime.url}/v1/lora_adapter/prepare`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ lora_name: "x", artifact_url: `hf://acme/${repo}`, checks }),
  });
  return { status: response.status, text: await response.text() };
}

/** How long the engine takes for each token. */
async function slow(tokenDelayMs: number): Promise<void> {
  const headers = { "content-type": "application/json" };
  const { status } = await fetch(`${engine.url}/mock/settings`, { method: "POST", headers, body: JSON.stringify({ tokenDelayMs }) });
  expect(status).toBe(200);
}

/** Names under which the engine has content that is checked. */
const checking = async () => Object.keys(await engineModels(engine)).filter(isSmokeName);
const isGone = () => eventually(async () => expect(await checking()).toEqual([]));

/** Has content checked that does not end to answer. */
async function begin(): Promise<string> {
  await slow(60_000);
  await prepare("two", [check()]);
  await runtime.until("x", { state: "Serving", prepared: { state: "Checking", checks: 1 } });
  await eventually(async () => expect(await checking()).toHaveLength(1));
  return (await checking())[0] as string;
}

async function stillServesOne(): Promise<void> {
  await runtime.until("x", { state: "Serving", artifact_url: "hf://acme/one" });
  expect(Object.keys(await engineModels(engine)).filter((id) => id.startsWith("x"))).toEqual(["x"]);
}

test("content that answers as expected is ready, and nothing of the checks is left in the engine", async () => {
  const checks = [
    check({ contains: `sha256:${weights}`, matches: "^\\[x@check-[0-9a-f]{8}-[0-9a-f]{4} " }, { name: "weights" }),
    check({ contains: `sha256:${weights}` }, { messages: [{ role: "user", content: "hello" }] }),
    check({ status: 400 }, { prompt: "word ".repeat(800), max_tokens: 1024, name: "too long" }),
  ];
  expect(await prepare("two", checks)).toMatchObject({ status: 202 });
  const { prepared } = await runtime.until("x", { state: "Serving", prepared: { state: expect.stringMatching(/Ready|Failed/) } });
  expect(prepared).toMatchObject({ state: "Ready", checks: 3 });
  expect(prepared?.message).toBeUndefined();
  await stillServesOne();
  await runtime.load("x", "hf://acme/two", { content: { digest: prepared?.content_digest } });
  await runtime.until("x", { state: "Serving", serving: { content_digest: prepared?.content_digest } });
});

test.each<{ name: string; expected: Partial<SmokeCheck["expect"]>; says: RegExp; delayMs?: number }>([
  {
    name: "another text",
    expected: { contains: "SELECT" },
    says: /^check 2 \(asks\) failed: expected a text with "SELECT" in it, got "\[x@check-/,
  },
  { name: "what no pattern matches", expected: { matches: "^SELECT" }, says: /expected a text that matches "\^SELECT", got / },
  { name: "another status", expected: { status: 404 }, says: /expected HTTP 404, got 200/ },
  { name: "nothing in time", expected: { max_latency_ms: 300 }, says: /within 300 ms, and none came/, delayMs: 60_000 },
])("content that answers with $name is refused, for good", async ({ expected, says, delayMs }) => {
  await slow(delayMs ?? 0);
  const first = delayMs === undefined ? check() : check({ status: 400 }, { prompt: "word ".repeat(800), max_tokens: 1024 });
  await prepare("two", [first, check(expected, { name: "asks" })]);
  const { prepared } = await runtime.until("x", { state: "Serving", prepared: { state: "Failed" } });
  expect(prepared).toMatchObject({ reason: "CheckFailed", retryable: false, message: expect.stringMatching(says) });
  expect(prepared?.next_retry_time).toBeUndefined();
  await stillServesOne();
  // Asked otherwise it is tried again.
  await slow(0);
  await prepare("two", [check()]);
  await runtime.until("x", { prepared: { state: "Ready", checks: 1 } });
  await stillServesOne();
});

test("a pattern that is none of RE2's is refused at once", async () => {
  const { status, text } = await prepare("two", [check(), check({ matches: "(?=x)" })]);
  expect([status, text]).toEqual([422, expect.stringContaining("check 2: matches is no regular expression of RE2's dialect")]);
});

test("while content is checked its name is none that the runtime tells of, and something else may come instead", async () => {
  const name = await begin();
  const { text } = await runtime.text("/v1/models");
  expect([text.includes('"x"'), text.includes(name)]).toEqual([true, false]);
  expect((await runtime.snapshot()).adapters.map((a) => a.lora_name)).toEqual(["x"]);
  await prepare("three", []);
  await runtime.until("x", { prepared: { artifact_url: "hf://acme/three", state: "Ready" } });
  await isGone();
  await stillServesOne();
});

test("an adapter that is taken away takes what is checked for it along", async () => {
  await begin();
  await runtime.post("unload", { lora_name: "x" });
  await runtime.gone("x");
  await isGone();
});

test("a runtime that is killed in the middle leaves nothing behind, and what serves serves on", async () => {
  await begin();
  await runtime.program.kill();
  expect(await checking()).toHaveLength(1);
  runtime = await start();
  await isGone();
  await runtime.gone((await checking())[0] ?? "x@check");
  const { prepared } = await runtime.serves("x");
  expect(prepared).toBeUndefined();
  await slow(0);
  await prepare("two", [check()]);
  await runtime.until("x", { prepared: { state: "Ready" } });
  await stillServesOne();
});

test("an engine that ends in the middle is asked once more; one that ends then too, ends on account of the content", async () => {
  const { port } = new URL(engine.url);
  await begin();
  await engine.kill();
  engine = await world.engine({ port });
  await slow(60_000);
  await eventually(async () => expect(await checking()).toHaveLength(1));
  await engine.kill();
  engine = await world.engine({ port });
  const { prepared } = await runtime.until("x", { state: "Serving", prepared: { state: "Failed", reason: "CheckFailed" } });
  expect(prepared).toMatchObject({
    retryable: false,
    message: expect.stringMatching(/the engine ended while new content was checked .* 2 times/),
  });
  await stillServesOne();
});
