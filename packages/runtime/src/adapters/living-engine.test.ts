import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeArtifacts, FakeEngine, NEVER, SILENT, testStore } from "../../test/fakes.ts";
import { KeyRing } from "../engine/key-ring.ts";
import { ENGINE_UNSEEN, EngineObserver, engineStatus } from "../engine/observer.ts";
import { AdapterError } from "../errors.ts";
import { Feed } from "../feed.ts";
import { createMetrics } from "../metrics.ts";
import { AdapterManager } from "./manager.ts";
import { Memory } from "./memory.ts";

// Files that an engine's process was given stay while it lives, whatever the runtime has forgotten or cannot find out.

let dir: string;
let engine: FakeEngine;
let artifacts: FakeArtifacts;
let world: Awaited<ReturnType<typeof start>>;

/** A runtime with a real store, over the same folder and engine each time. */
async function start() {
  const keys = new KeyRing();
  const observer = new EngineObserver({ engine, keys, log: SILENT });
  const feed = new Feed(engineStatus(engine, ENGINE_UNSEEN));
  const store = testStore(dir);
  await store.open();
  const memory = new Memory(dir, SILENT);
  await memory.open();
  await memory.adopt(await store.contents());
  const swept = vi.spyOn(store, "sweep");
  const deps = { engine, observer, artifacts, store, memory, keys, metrics: createMetrics(), feed, log: SILENT };
  const manager = new AdapterManager({
    ...deps,
    now: Date.now,
    timeOf: (ms: number) => ms,
    random: () => 0,
    maxLoraRank: 16,
    probe: "auto",
  });
  manager.restore();
  manager.sweepOrphans();
  await observer.refresh(NEVER);
  return { manager, observer, feed, store, swept };
}

async function restart() {
  await world.manager.close();
  world = await start();
}

const until = (check: () => void | Promise<void>) => vi.waitFor(check, { interval: 5, timeout: 5_000 });
/** Waits until a sweep that began by now has ended. */
const swept = (times: number) =>
  until(async () => {
    expect(world.swept).toHaveBeenCalledTimes(times);
    await Promise.all(world.swept.mock.results.map((r) => r.value));
  });

/** Installs content, and has it served as "a". @returns its folder */
async function serve(): Promise<string> {
  const folder = await world.store.newFolder();
  await writeFile(join(folder, "w"), "one");
  const about = { artifact_url: "hf://a/b", source_fingerprint: "f", fetched_at: "2026-01-01T00:00:00Z" };
  const content = await world.store.install("a", folder, { ...about, files: [{ name: "w", sizeBytes: 3, sha256: "1" }] });
  artifacts.byUrl.set("hf://a/b", { path: content.path, digest: content.digest });
  await world.manager.load({ lora_name: "a", artifact_url: "hf://a/b" });
  await until(() => expect(world.feed.adapter("a")).toMatchObject({ state: "Serving" }));
  return content.path;
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "living-"));
  engine = new FakeEngine();
  artifacts = new FakeArtifacts();
  world = await start();
});
afterEach(async () => {
  await world.manager.close();
  await rm(dir, { recursive: true });
});

test.each(["", "{", '{"version":2}'])(
  "where the state is %j, what the engine has loaded stays until it is another process",
  async (state) => {
    const path = await serve();
    await world.manager.close();
    await writeFile(join(dir, ".state/declared.json"), state);
    world = await start();
    await swept(1);
    expect(await readFile(join(path, "w"), "utf8")).toBe("one");
    engine.restart("boot-2");
    await world.observer.refresh(NEVER);
    await swept(2);
    expect(existsSync(path)).toBe(false);
  },
);

test("what another process got before it told its id stays while that lives, also where it is unloaded for good", async () => {
  const path = await serve();
  engine.restart("boot-2");
  const bootId = vi.spyOn(engine, "bootId").mockRejectedValue(new AdapterError("EngineUnavailable", "no answer within 2 s"));
  await world.observer.refresh(NEVER);
  await until(() => expect(engine.adapters.get("a")).toBe(path));
  await world.manager.unload({ lora_name: "a", cleanup_local: true });
  await until(() => expect(world.feed.adapter("a")).toBeUndefined());
  bootId.mockRestore();
  await world.observer.refresh(NEVER);
  await swept(2);
  expect(await readFile(join(path, "w"), "utf8")).toBe("one");
  await restart();
  await swept(1);
  expect(await readFile(join(path, "w"), "utf8")).toBe("one");
  engine.restart("boot-3");
  await world.observer.refresh(NEVER);
  await swept(2);
  expect(existsSync(path)).toBe(false);
});

test("a load that cannot be written down is done, and says that a restart would forget it", async () => {
  await serve();
  await rm(join(dir, ".state"), { recursive: true });
  const again = world.manager.load({ lora_name: "b", artifact_url: "hf://a/b" });
  await expect(again).rejects.toMatchObject({ status: 503, code: "StorageUnavailable", message: expect.stringContaining("forget") });
  await until(() => expect(world.feed.adapter("b")).toMatchObject({ state: "Serving" }));
});

test("an unload that cannot be written down is done, and says that a restart would load it again, until it is written", async () => {
  await serve();
  await rm(join(dir, ".state"), { recursive: true });
  const unload = async () => await world.manager.unload({ lora_name: "a" });
  const unsaved = { status: 503, code: "StorageUnavailable", message: expect.stringContaining("load it again") };
  await expect(unload()).rejects.toMatchObject(unsaved);
  await until(() => expect(engine.adapters.has("a")).toBe(false));
  await until(() => expect(world.feed.adapter("a")).toBeUndefined());
  await expect(unload()).rejects.toMatchObject(unsaved);
  await expect(world.manager.unload({ lora_name: "never" })).rejects.toMatchObject({ status: 404 });
  await mkdir(join(dir, ".state"));
  await expect(unload()).rejects.toMatchObject({ status: 404 });
  await restart();
  expect(world.feed.adapter("a")).toBeUndefined();
});
