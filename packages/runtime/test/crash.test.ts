import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Hub, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type CrashPoint, crashingAt } from "./support/crash.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { complete, engineModels, eventually, type Runtime, World } from "./support/world.ts";

let world: World;
let hub: Hub;

beforeEach(async () => {
  world = new World();
  await writeAdapter(world.path("hub/acme/a"), { seed: 1 });
  await writeAdapter(world.path("hub/acme/b"), { seed: 2 });
  hub = await startHub({ root: world.path("hub") });
});
afterEach(async () => {
  await stopPrograms();
  await hub.close();
  world.remove();
});

const FILES = ["adapter_config.json", "adapter_model.safetensors"];
const CONTENT = "/artifacts/a/[0-9a-f]{64}";
const POOLED = "/.cache/contents/[0-9a-f]{64}";
const STATE = "/.state/declared.json$";
/** What the state has of first content before the engine is given it. */
const FIRST = '"probed": "pending"';

const read = (path: string) => readFileSync(path).toString("base64");
const listed = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);

/** Sees that whatever an engine could be given is whole: at any moment, a crash included. */
function expectNothingHalf(): void {
  for (const folder of [join(world.artifacts, "a"), join(world.artifacts, ".cache/contents")])
    for (const content of listed(folder)) {
      const repo = ["a", "b"].find(
        (name) => read(join(folder, content, FILES[1] ?? "")) === read(world.path(`hub/acme/${name}/${FILES[1]}`)),
      );
      expect(repo).toBeDefined();
      for (const file of FILES) expect(read(join(folder, content, file))).toBe(read(world.path(`hub/acme/${repo}/${file}`)));
    }
}

/** Starts a runtime that ends at a point, and does what leads there. */
async function crash(engine: Program, point: CrashPoint, act: (runtime: Runtime) => Promise<unknown>): Promise<void> {
  let pid: number | undefined;
  try {
    const runtime = await world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url, ...crashingAt(point) } });
    pid = runtime.program.pid;
    await act(runtime).catch(() => undefined); // Its answer may not come any more.
  } catch (error) {
    expect(String(error)).toContain("ended with null"); // It ended before it listened.
  }
  if (pid !== undefined) await eventually(() => expect(() => process.kill(pid, 0)).toThrow("ESRCH"));
  expectNothingHalf();
}

/** Sees that a runtime without a crash point comes to serve the adapter by its weights, and leaves nothing lying about. */
async function converges(engine: Program, name = "a"): Promise<void> {
  const runtime = await world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url } });
  if (!(await runtime.snapshot()).adapters.some((a) => a.lora_name === "a" && a.artifact_url === `hf://acme/${name}`))
    await runtime.load("a", `hf://acme/${name}`); // As the controller does that had no answer.
  const status = await runtime.until("a", { state: "Serving", artifact_url: `hf://acme/${name}` });
  expect(await engineModels(engine)).toMatchObject({ a: status.serving?.path });
  for (const file of FILES) expect(read(join(status.serving?.path ?? "", file))).toBe(read(world.path(`hub/acme/${name}/${file}`)));
  expect((await complete(engine, "a")).status).toBe(200);
  expect(engine.output()).not.toMatch(/"status":(4|5)\d\d|refused/);
  await eventually(() => {
    for (const folder of [".cache/locks", ".cache/work", ".cache/partial", ".cache/trash", ".tmp"])
      expect({ folder, holds: listed(join(world.artifacts, folder)) }).toEqual({ folder, holds: [] });
  });
  expectNothingHalf();
}

test.each<{ name: string; point: CrashPoint }>([
  { name: "download: before the lock is taken", point: { op: "link", path: "/.cache/locks/", when: "before" } },
  { name: "download: the lock is taken, and has another name yet", point: { op: "link", path: "/.cache/locks/", when: "after" } },
  { name: "download: the place for it is made", point: { op: "mkdir", path: "/[.]cache/work[/][^/]+/files", when: "after" } },
  { name: "download: in the middle of the weights", point: { op: "write", path: "adapter_model.safetensors$", when: "after" } },
  { name: "rename: between two links", point: { op: "link", path: "/.tmp/", nth: 2, when: "before" } },
  {
    name: "rename: before the list of files is written",
    point: { op: "writeFile", path: "/files/.aibrix-manifest.json$", when: "before" },
  },
  { name: "rename: before the content is in the cache", point: { op: "rename", path: `${POOLED}$`, when: "before" } },
  { name: "rename: the content is in the cache", point: { op: "rename", path: `${POOLED}$`, when: "after" } },
  { name: "rename: its source is noted", point: { op: "rename", path: "/.cache/sources/", when: "after" } },
  { name: "rename: before the engine can see it", point: { op: "rename", path: `${CONTENT}$`, when: "before" } },
  { name: "rename: the engine can see it", point: { op: "rename", path: `${CONTENT}$`, when: "after" } },
  { name: "rename: the lock is given back", point: { op: "rm", path: "/.cache/locks/", when: "after" } },
  { name: "load: before it is written down", point: { op: "rename", path: STATE, holds: FIRST, when: "before" } },
  { name: "load: it is written down, and the engine not asked", point: { op: "rename", path: STATE, holds: FIRST, when: "after" } },
  { name: "load: the engine has it", point: { op: "utimes", path: POOLED, when: "before" } },
])("killed at $name", async ({ point }) => {
  const engine = await world.engine();
  await crash(engine, point, (runtime) => runtime.load("a", "hf://acme/a"));
  await converges(engine);
});

test("asked to end in the middle of a download, a runtime gives its place back for the next one", async () => {
  const engine = await world.engine();
  await writeAdapter(world.path("hub/acme/big"), { seed: 3, rank: 64, hiddenSize: 2048 });
  const slow = { env: { HF_ENDPOINT: hub.url }, args: ["--download-rate-limit=64Ki"] };
  const runtime = await world.runtime(engine.url, slow);
  await runtime.load("a", "hf://acme/big");
  const cache = (folder: string) => listed(join(world.artifacts, ".cache", folder));
  await eventually(() => expect([cache("work"), cache("locks")]).toMatchObject([{ length: 1 }, { length: 1 }]));
  expect(await runtime.program.stop()).toBe(0);
  expect({ work: cache("work"), locks: cache("locks"), partial: cache("partial") }).toMatchObject({
    work: [],
    locks: [],
    partial: { length: 1 },
  });
});

test.each<{ name: string; point: CrashPoint }>([
  { name: "the state is read", point: { op: "readFile", path: STATE, when: "after" } },
  { name: "its files are looked for", point: { op: "readFile", path: `${CONTENT}/`, when: "before" } },
  { name: "they are found", point: { op: "utimes", path: POOLED, when: "after" } },
  { name: "the engine has it again", point: { op: "utimes", path: POOLED, nth: 2, when: "after" } },
])("killed at restore: $name; nothing is fetched for it", async ({ point }) => {
  const first = await world.engine();
  const before = await world.runtime(first.url, { env: { HF_ENDPOINT: hub.url } });
  await before.load("a", "hf://acme/a");
  await before.serves("a");
  await before.program.kill();
  await first.kill();
  await hub.close();
  const engine = await world.engine({ port: new URL(first.url).port });
  await crash(engine, point, async () => undefined);
  await converges(engine);
});

test.each<{ name: string; point: CrashPoint }>([
  { name: "the old content is out of the engine", point: { op: "utimes", path: POOLED, nth: 2, when: "before" } },
  { name: "the new content is written down", point: { op: "rename", path: STATE, holds: "hf://acme/b", nth: 2, when: "after" } },
  { name: "the old content is about to make room", point: { op: "rename", path: STATE, holds: '"loading": true', when: "after" } },
])("killed at update: $name", async ({ point }) => {
  const engine = await world.engine();
  let updated = false;
  await crash(engine, point, async (runtime) => {
    await runtime.load("a", "hf://acme/a");
    await runtime.serves("a");
    updated = true;
    await runtime.load("a", "hf://acme/b");
  });
  expect(updated).toBe(true);
  await converges(engine, "b");
});

test("killed at sweep: superseded content is out of sight; the old one goes, and the new one serves", async () => {
  const first = await world.engine();
  const before = await world.runtime(first.url, { env: { HF_ENDPOINT: hub.url } });
  await before.load("a", "hf://acme/b");
  await before.serves("a");
  await before.load("a", "hf://acme/a");
  await before.until("a", { state: "Serving", artifact_url: "hf://acme/a" });
  expect(listed(join(world.artifacts, "a"))).toHaveLength(2);
  await before.program.stop();
  await first.kill();
  const engine = await world.engine({ port: new URL(first.url).port });
  await crash(engine, { op: "rename", path: "/.cache/trash/", when: "after" }, async () => undefined);
  await converges(engine);
  expect(listed(join(world.artifacts, "a"))).toHaveLength(1);
  expect(listed(join(world.artifacts, ".cache/contents"))).toHaveLength(2);
});
