import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Hub, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Program, stopPrograms } from "./support/program.ts";
import { engineModels, eventually, type Runtime, World } from "./support/world.ts";

/*
 * New content under an old name, on the mock engine, whose answers name the weights that gave them.
 */

const OWNER = "modeladapter/default/x/u1";
const REPOS = { one: 1, two: 2, three: 3 } as const;
type Repo = keyof typeof REPOS;

let world: World;
let hub: Hub;
let downloads = 0;

beforeEach(async () => {
  world = new World();
  for (const [repo, seed] of Object.entries(REPOS)) await writeAdapter(world.path(`hub/acme/${repo}`), { seed });
  downloads = 0;
  hub = await startHub({ root: world.path("hub"), onCall: () => (downloads += 1) });
});
afterEach(async () => {
  await stopPrograms();
  await hub.close();
  world.remove();
});

const urlOf = (repo: Repo) => `hf://acme/${repo}`;
/** What an answer of the mock engine names as its weights. */
async function weights(repo: Repo): Promise<string> {
  const file = await readFile(world.path(`hub/acme/${repo}/adapter_model.safetensors`));
  return createHash("sha256").update(file).digest("hex").slice(0, 12);
}

/** How often the engine loaded something under the name: its own log tells. */
function loads(engine: Program): number {
  return engine
    .output()
    .split("\n")
    .filter((line) => /\bloaded a LoRA adapter/.test(line)).length;
}

/** The weights of an answer; `undefined` where its tokens are of more than one. */
function madeBy(text: string): string | undefined {
  const [, digest, rest = ""] = /^\[x sha256:([0-9a-f]{12})\](.*)$/s.exec(text) ?? [];
  return rest.split(" ").every((token) => token === "" || token.startsWith(`${digest?.slice(0, 4)}.`)) ? digest : undefined;
}
const start = (engine: Program) => world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url } });
const load = (runtime: Runtime, repo: Repo, more: object = {}) => runtime.load("x", urlOf(repo), { owner: OWNER, ...more });

async function prepare(runtime: Runtime, body: object): Promise<number> {
  const response = await fetch(`${runtime.url}/v1/lora_adapter/prepare`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ lora_name: "x", owner: OWNER, ...body }),
  });
  return response.status;
}

interface Asked {
  readonly startedMs: number;
  readonly status: number;
  readonly digest: string | undefined;
}

/** Streams to an engine, one after the other, as so many clients; until they are stopped. */
class Clients {
  readonly asked: Asked[] = [];
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;

  constructor(engine: Program, count: number) {
    this.#ended = Promise.all(Array.from({ length: count }, () => this.#run(engine)));
  }

  async stop(): Promise<readonly Asked[]> {
    this.#stop.abort();
    await this.#ended;
    return this.asked;
  }

  async #run(engine: Program): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const startedMs = performance.now();
      const response = await fetch(`${engine.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "x", prompt: "word ".repeat(200), max_tokens: 30, stream: true }),
      });
      const events = await response.text();
      this.asked.push({ startedMs, status: response.status, digest: response.status === 200 ? madeBy(textOf(events)) : undefined });
    }
  }
}

function textOf(events: string): string {
  return events
    .split("\n")
    .flatMap((line) => (line.startsWith("data: {") ? [line.slice(6)] : []))
    .map((json) => (JSON.parse(json) as { choices: readonly { text: string }[] }).choices[0]?.text ?? "")
    .join("");
}

test("content is fetched and checked while the old one serves, survives the runtime, and is swapped without another look at the source", async () => {
  const engine = await world.engine();
  const runtime = await start(engine);
  await load(runtime, "one");
  await runtime.serves("x");
  expect(await prepare(runtime, { artifact_url: urlOf("two") })).toBe(202);
  const { prepared } = await runtime.until("x", { state: "Serving", prepared: { state: "Ready" } });
  expect(loads(engine)).toBe(1);
  await runtime.program.kill();
  const next = await start(engine);
  const there = await next.until("x", { state: "Serving", artifact_url: urlOf("one") });
  expect(there.prepared).toBeUndefined();
  const before = downloads;
  const content = { digest: prepared?.content_digest, revision: prepared?.resolved_revision };
  await load(next, "two", { content });
  const now = await next.until("x", { state: "Serving", serving: { content_digest: content.digest } });
  expect([now.resolved_revision, downloads, loads(engine)]).toEqual([content.revision, before, 2]);
  // Back, too.
  const first = there.serving?.content_digest;
  await load(next, "one", { content: { digest: first } });
  await next.until("x", { state: "Serving", serving: { content_digest: first } });
  expect(downloads).toBe(before);
});

test("what is bad is told, and the engine hears nothing of it", async () => {
  const engine = await world.engine();
  const runtime = await start(engine);
  await load(runtime, "one");
  await runtime.serves("x");
  await writeAdapter(world.path("hub/acme/wide"), { seed: 4, rank: 16 });
  await writeAdapter(world.path("hub/acme/cut"), { seed: 5 });
  await writeFile(join(world.path("hub/acme/cut"), "adapter_model.safetensors"), "cut");
  const refused = [
    ["hf://acme/missing", "ArtifactNotFound"],
    ["hf://acme/cut", "ArtifactInvalid"],
    [`${urlOf("two")}#sha256=${"0".repeat(64)}`, "ArtifactInvalid"],
  ] as const;
  for (const [artifact_url, reason] of refused) {
    await prepare(runtime, { artifact_url });
    await runtime.until("x", { state: "Serving", prepared: { artifact_url, state: "Failed", reason, retryable: false } });
  }
  await prepare(runtime, { artifact_url: "hf://acme/wide", limits: { max_lora_rank: 8 } });
  await runtime.until("x", { prepared: { state: "Failed", reason: "ArtifactUnfit" } });
  expect([loads(engine), Object.keys(await engineModels(engine))]).toEqual([1, expect.arrayContaining(["x"])]);
});

test("a decided content that the source does not have any more is refused, for it would be another one", async () => {
  const engine = await world.engine();
  const runtime = await start(engine);
  await load(runtime, "one", { content: { digest: `sha256:${"0".repeat(64)}` } });
  const failed = await runtime.failed("x", "ArtifactChanged");
  expect(failed.message).toContain("adapter.model.aibrix.ai/refresh");
});

test("under constant streams, with a slot to spare: every answer is one content's, and none the old one's once the new one serves", async () => {
  const engine = await world.engine({ args: ["--max-loras", "4"] });
  const runtime = await start(engine);
  await load(runtime, "one");
  await runtime.serves("x");
  const clients = new Clients(engine, 8);
  await eventually(() => expect(clients.asked.length).toBeGreaterThan(8));
  await prepare(runtime, { artifact_url: urlOf("two") });
  await runtime.until("x", { prepared: { state: "Ready" } });
  await load(runtime, "two");
  await runtime.until("x", { state: "Serving", artifact_url: urlOf("two") });
  const doneMs = performance.now();
  await eventually(() => expect(clients.asked.filter((a) => a.startedMs > doneMs).length).toBeGreaterThan(16));
  const asked = await clients.stop();
  const [old, fresh] = [await weights("one"), await weights("two")];
  // In the moment of the swap the engine knows no such name, which Envoy tries again.
  const answered = asked.filter((a) => a.status !== 404);
  expect(answered.filter((a) => a.status !== 200 || (a.digest !== old && a.digest !== fresh))).toEqual([]);
  expect(asked.filter((a) => a.startedMs > doneMs && a.digest !== fresh)).toEqual([]);
  expect(answered.some((a) => a.digest === old)).toBe(true);
});

test("without a slot to spare the new content waits for the old one's requests; the engine never has both", async () => {
  const engine = await world.engine({ args: ["--max-loras", "1"] });
  const runtime = await start(engine);
  await load(runtime, "one");
  await runtime.serves("x");
  const clients = new Clients(engine, 4);
  await eventually(() => expect(clients.asked.length).toBeGreaterThan(4));
  await load(runtime, "two", { drain_seconds: 60 });
  await runtime.until("x", { state: "Updating", waits_since: expect.any(String), serving: { path: expect.any(String) } });
  expect(loads(engine)).toBe(1);
  const asked = await clients.stop();
  expect(asked.filter((a) => a.status !== 200 || a.digest === undefined)).toEqual([]);
  const now = await runtime.until("x", { state: "Serving", artifact_url: urlOf("two") });
  expect([now.probed, loads(engine)]).toEqual(["served", 2]);
});
