import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WatchEvent } from "@aibrix/api";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeArtifacts, FakeEngine, fakeContent, NEVER, SILENT, testStore } from "../../test/fakes.ts";
import { wallTime } from "../clock.ts";
import { KeyRing } from "../engine/key-ring.ts";
import { ENGINE_UNSEEN, EngineObserver, engineStatus } from "../engine/observer.ts";
import { AdapterError } from "../errors.ts";
import { Feed } from "../feed.ts";
import { createMetrics } from "../metrics.ts";
import type { Declaration } from "./declaration.ts";
import { AdapterManager } from "./manager.ts";
import { Memory } from "./memory.ts";

let dir: string;
let engine: FakeEngine;
let artifacts: FakeArtifacts;
let world: Awaited<ReturnType<typeof start>>;
/** Time that went by besides the real one, in milliseconds. */
let passedMs = 0;

/** A runtime without HTTP, over the same folder and engine each time. */
async function start() {
  const keys = new KeyRing();
  const observer = new EngineObserver({ engine, keys, log: SILENT });
  const feed = new Feed(engineStatus(engine, ENGINE_UNSEEN));
  const store = testStore(dir);
  await store.open();
  const memory = new Memory(dir, SILENT);
  await memory.open();
  const metrics = createMetrics();
  const now = () => performance.now() + passedMs;
  const timeOf = wallTime(now, () => Date.now());
  const deps = { engine, observer, artifacts, store, memory, keys, metrics, feed, log: SILENT, now, timeOf, random: () => 0 };
  const manager = new AdapterManager({ ...deps, maxLoraRank: 16, probe: "auto" });
  manager.restore();
  manager.sweepOrphans();
  await observer.refresh(NEVER);
  return { manager, observer, feed, metrics, store };
}

async function restart() {
  await world.manager.close();
  world = await start();
}

beforeEach(async () => {
  passedMs = 0;
  dir = await mkdtemp(join(tmpdir(), "manager-"));
  engine = new FakeEngine();
  artifacts = new FakeArtifacts();
  for (const name of ["one", "two", "bad"]) artifacts.byUrl.set(`/${name}`, fakeContent(name));
  engine.refusals.set("/store/bad", new AdapterError("EngineRefused", "rank"));
  world = await start();
});
afterEach(async () => {
  await world.manager.close();
  await rm(dir, { recursive: true });
});

const load = (name: string, url: string, apiKey?: string) =>
  world.manager.load({ lora_name: name, artifact_url: url, ...(apiKey === undefined ? {} : { additional_config: { "api-key": apiKey } }) });
const status = (name: string) => world.feed.adapter(name);
const until = (check: () => void) => vi.waitFor(check, { interval: 5, timeout: 5_000 });
const serves = (name: string, content: string) =>
  until(() => expect(status(name)).toMatchObject({ state: "Serving", serving: { path: `/store/${content}` } }));
const failed = (name: string, reason: string) => until(() => expect(status(name)).toMatchObject({ state: "Failed", reason }));

test("loads what is declared, and says 200 once it serves", async () => {
  expect(await load("a", "/one")).toMatchObject({ status: 202 });
  await serves("a", "one");
  expect(await load("a", "/one")).toMatchObject({ status: 200, body: { state: "Serving" } });
  expect(engine.calls).toEqual(["load a /store/one"]);
});

const ofRank = (rank: number) => ({
  config: { rank, patternRanks: [], baseModel: undefined },
  maxRank: rank,
  modules: [],
  dtypes: [],
  tensors: 0,
});

test("what does not fit the engine is refused without asking it, and looked at again when it was restarted", async () => {
  artifacts.facts.set("/store/one", ofRank(32));
  await load("a", "/one");
  await failed("a", "ArtifactUnfit");
  expect(engine.calls).toEqual([]);
  // The files were mended in place, say: the fake's content never changes by itself.
  artifacts.facts.set("/store/one", ofRank(16));
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
});

test("limits that a call gives count before the runtime's own, and after a restart, too", async () => {
  artifacts.facts.set("/store/one", ofRank(32));
  await world.manager.load({ lora_name: "a", artifact_url: "/one", limits: { max_lora_rank: 32 } });
  await serves("a", "one");
  engine.restart("boot-2");
  await restart();
  await serves("a", "one");
  await world.manager.load({ lora_name: "a", artifact_url: "/one", limits: { max_lora_rank: 8 } });
  await world.manager.unload({ lora_name: "a" });
  await until(() => expect(status("a")).toBeUndefined());
  await world.manager.load({ lora_name: "a", artifact_url: "/one", limits: { max_lora_rank: 8 } });
  await failed("a", "ArtifactUnfit");
});

test("a second call joins a running download", async () => {
  let arrive = (_: ReturnType<typeof fakeContent>): void => undefined;
  artifacts.byUrl.set("/slow", new Promise((resolve) => (arrive = resolve)));
  await load("a", "/slow");
  expect(await load("a", "/slow")).toMatchObject({ status: 202, body: { state: "Downloading" } });
  arrive(fakeContent("slow"));
  await serves("a", "slow");
  expect(artifacts.asked).toHaveLength(1);
});

test("another URL ends a running download", async () => {
  artifacts.byUrl.set("/never", new Promise(() => undefined));
  await load("a", "/never");
  await load("a", "/one");
  await serves("a", "one");
});

test("one that hangs and one that is bad delay no other", async () => {
  artifacts.byUrl.set("/never", new Promise(() => undefined));
  await load("hangs", "/never");
  await load("bad", "/bad");
  await load("good", "/one");
  await serves("good", "one");
  await failed("bad", "EngineRefused");
  expect(status("hangs")).toMatchObject({ state: "Downloading" });
});

test("at most four downloads run at once", async () => {
  artifacts.byUrl.set("/never", new Promise(() => undefined));
  for (const n of [1, 2, 3, 4, 5]) await load(`a${n}`, "/never");
  expect([1, 2, 3, 4, 5].map((n) => status(`a${n}`)?.state)).toEqual([
    "Downloading",
    "Downloading",
    "Downloading",
    "Downloading",
    "Pending",
  ]);
  await world.manager.unload({ lora_name: "a1" });
  await until(() => expect(status("a5")?.state).toBe("Downloading"));
});

test("tries again what may work later, by itself", async () => {
  artifacts.byUrl.set("/flaky", new AdapterError("ArtifactUnavailable", "the storage is down"));
  await load("a", "/flaky");
  await failed("a", "ArtifactUnavailable");
  expect(status("a")).toMatchObject({ attempts: 1, retryable: true });
  expect(status("a")?.next_retry_time).toBeDefined();
  artifacts.byUrl.set("/flaky", fakeContent("flaky"));
  await serves("a", "flaky");
  expect(status("a")).toMatchObject({ attempts: 0 });
});

test("a load call tries a failed one again at once", async () => {
  await load("a", "/nothing");
  await failed("a", "ArtifactNotFound");
  artifacts.byUrl.set("/nothing", fakeContent("one"));
  await load("a", "/nothing");
  await serves("a", "one");
});

test("an update takes the place of the old content by unload and load, never in place", async () => {
  await load("a", "/one");
  await serves("a", "one");
  await load("a", "/two");
  await serves("a", "two");
  expect(engine.calls).toEqual(["load a /store/one", "unload a", "load a /store/two"]);
});

test.each([
  { name: "that cannot be fetched", url: "/nothing", reason: "ArtifactNotFound" },
  { name: "that the engine refuses", url: "/bad", reason: "EngineRefused" },
])("an update $name leaves the old content serving, also after a restart of the engine", async ({ url, reason }) => {
  await load("a", "/one");
  await serves("a", "one");
  const shown = vi.spyOn(world.feed, "setAdapter");
  await load("a", url);
  await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason, serving: { path: "/store/one" } }));
  expect(status("a")?.swapping).toBeUndefined();
  // What the engine refuses takes the old content's place for a moment: whoever routes knows that something comes.
  const between = shown.mock.calls.map(([adapter]) => adapter).filter((adapter) => adapter.serving === null);
  expect([between.length > 0, between.every((adapter) => adapter.swapping)]).toEqual([reason === "EngineRefused", true]);
  await until(() => expect(engine.adapters.get("a")).toBe("/store/one"));
  expect((await world.metrics.repairs.get()).values[0]?.value).toBe(0);
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await until(() => expect(engine.adapters.get("a")).toBe("/store/one"));
  await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason, serving: { path: "/store/one" } }));
});

test("puts everything back after a restart of the engine, without a download, and counts it", async () => {
  await load("a", "/one");
  await load("b", "/two");
  await serves("a", "one");
  await serves("b", "two");
  const asked = artifacts.asked.length;
  engine.up = false;
  await world.observer.refresh(NEVER);
  expect(status("a")).toMatchObject({ state: "Pending", reason: "EngineUnavailable", serving: null });
  engine.up = true;
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
  await serves("b", "two");
  expect(artifacts.asked).toHaveLength(asked);
  expect((await world.metrics.repairs.get()).values[0]?.value).toBe(2);
});

test("an engine that comes back and refuses what it had is asked once", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.refusals.set("/store/one", new AdapterError("EngineRuntimeUpdatingDisabled", "no"));
  engine.calls = [];
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await failed("a", "EngineRuntimeUpdatingDisabled");
  await world.observer.refresh(NEVER);
  expect(engine.calls).toEqual(["load a /store/one"]);
});

test("fetches again what somebody removed", async () => {
  await load("a", "/one");
  await serves("a", "one");
  artifacts.lost.add("/store/one");
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
  expect(artifacts.asked).toHaveLength(2);
});

test("files that change again and again are no endless loop", async () => {
  artifacts.isComplete = async () => false;
  await load("a", "/one");
  await failed("a", "ArtifactUnavailable");
  expect(status("a")).toMatchObject({ retryable: true, message: expect.stringContaining("change while they are read") });
  expect(artifacts.asked).toHaveLength(2);
});

test("another engine process is asked again what the last one refused; a bad artifact is not fetched again", async () => {
  await load("refused", "/bad");
  await load("missing", "/nothing");
  await failed("refused", "EngineRefused");
  await failed("missing", "ArtifactNotFound");
  const asked = artifacts.asked.length;
  engine.refusals.clear();
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("refused", "bad");
  expect(artifacts.asked).toHaveLength(asked);
});

test("what another loader has just taken away does not count as served", async () => {
  engine.adapters.set("a", "/store/one");
  await world.observer.refresh(NEVER);
  engine.adapters.delete("a");
  await load("a", "/one");
  await until(() => expect(status("a")?.state).toBe("Serving"));
  expect(engine.adapters.get("a")).toBe("/store/one");
});

test("somebody else's adapter is told of and left alone, until its name is free", async () => {
  engine.adapters.set("a", "/static");
  await world.observer.refresh(NEVER);
  await load("a", "/one");
  await failed("a", "NameConflict");
  await world.manager.unload({ lora_name: "a" });
  expect(engine.adapters.get("a")).toBe("/static");
  await load("a", "/one");
  await failed("a", "NameConflict");
  engine.adapters.delete("a");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
});

test("unload takes it out of the engine; a second one is 404", async () => {
  await load("a", "/one");
  await serves("a", "one");
  expect(await world.manager.unload({ lora_name: "a" })).toMatchObject({ body: { state: "Draining" } });
  await until(() => expect(status("a")).toBeUndefined());
  expect(engine.adapters.size).toBe(0);
  await expect(world.manager.unload({ lora_name: "a" })).rejects.toMatchObject({ status: 404 });
});

test("unload while the engine is away waits for it, over a restart of the runtime too", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.up = false;
  await world.observer.refresh(NEVER);
  expect(await world.manager.unload({ lora_name: "a" })).toMatchObject({ status: 202, body: { state: "Draining" } });
  await restart();
  engine.up = true;
  await world.observer.refresh(NEVER);
  await until(() => expect(engine.adapters.size).toBe(0));
  await until(() => expect(world.feed.snapshot().adapters).toEqual([]));
});

test("a restart of the runtime finds its adapters again without a load", async () => {
  await load("a", "/one");
  await serves("a", "one");
  await restart();
  await serves("a", "one");
  expect(engine.calls).toEqual(["load a /store/one"]);
  expect(artifacts.asked.at(-1)).toMatchObject({ preferLocal: true });
});

test("after a restart of both, what was loaded last is put back before anything is fetched", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.restart("boot-2");
  artifacts.byUrl.set("/one", new Promise(() => undefined));
  await restart();
  await until(() => expect(engine.adapters.get("a")).toBe("/store/one"));
});

test("a key is never written down; after a restart the adapter waits for it and says so", async () => {
  engine.apiKey = "sk-secret";
  await world.manager.load({
    lora_name: "a",
    artifact_url: "/one",
    additional_config: { "api-key": "sk-secret" },
    credentials: { huggingface_token: "hf-secret" },
  });
  await world.observer.refresh(NEVER);
  await serves("a", "one");
  expect(await readFile(join(dir, ".state", "declared.json"), "utf8")).not.toContain("secret");
  engine.restart("boot-2");
  await restart();
  await failed("a", "EngineUnauthorized");
  await load("b", "/two", "sk-secret");
  await world.observer.refresh(NEVER);
  await serves("b", "two");
  expect(status("a")?.message).toContain("lost when the runtime restarted");
  await load("a", "/one", "sk-secret");
  await serves("a", "one");
});

test("a key that the engine refuses is told, and the right one mends it", async () => {
  engine.apiKey = "right";
  await load("a", "/one", "wrong");
  await failed("a", "EngineUnauthorized");
  await load("a", "/one", "right");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
});

test("files go only after the engine process that could read them", async () => {
  const drop = vi.spyOn(world.store, "drop");
  await load("a", "/one");
  await load("kept", "/two");
  await serves("a", "one");
  await serves("kept", "two");
  await world.manager.unload({ lora_name: "a", cleanup_local: true });
  await world.manager.unload({ lora_name: "kept" });
  await until(() => expect(world.feed.snapshot().adapters).toEqual([]));
  await world.observer.refresh(NEVER);
  expect(drop).not.toHaveBeenCalled();
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await until(() => expect(drop.mock.calls).toEqual([["a"]]));
});

test("superseded content goes once the engine process that may read it is gone", async () => {
  const sweep = vi.spyOn(world.store, "sweep");
  const needed = (content: string) => sweep.mock.calls.at(-1)?.[0]("a", `sha256:${content}`);
  await load("a", "/one");
  await serves("a", "one");
  await load("a", "/two");
  await serves("a", "two");
  await restart();
  vi.spyOn(world.store, "sweep").mockImplementation(sweep);
  await until(() => expect(sweep).toHaveBeenCalled());
  await serves("a", "two");
  expect([needed("one"), needed("two"), needed("three")]).toEqual([true, true, false]);
  engine.restart("boot-2");
  const calls = sweep.mock.calls.length;
  await world.observer.refresh(NEVER);
  await until(() => expect(sweep.mock.calls.length).toBeGreaterThan(calls));
  await serves("a", "two");
  expect([needed("one"), needed("two")]).toEqual([false, true]);
});

test("after a restart of the engine, or of both, adapters come back the most recently used first", async () => {
  for (const name of ["a", "b", "c"]) {
    await load(name, "/one");
    await serves(name, "one");
  }
  await load("a", "/one");
  engine.calls = [];
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  for (const name of ["a", "b", "c"]) await serves(name, "one");
  expect(engine.calls).toEqual(["load a /store/one", "load c /store/one", "load b /store/one"]);
  engine.calls = [];
  engine.restart("boot-3");
  await restart();
  for (const name of ["a", "b", "c"]) await serves(name, "one");
  expect(engine.calls).toEqual(["load a /store/one", "load c /store/one", "load b /store/one"]);
});

test("the last unload says whether files go", async () => {
  const drop = vi.spyOn(world.store, "drop");
  for (const cleanup_local of [true, false]) {
    await load("a", "/one");
    await serves("a", "one");
    await world.manager.unload({ lora_name: "a", cleanup_local });
    await until(() => expect(status("a")).toBeUndefined());
  }
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await load("b", "/two");
  await serves("b", "two");
  expect(drop).not.toHaveBeenCalled();
});

test("a manifest of the name keeps the files", async () => {
  const drop = vi.spyOn(world.store, "drop");
  await load("a", "/one");
  await serves("a", "one");
  await world.manager.unload({ lora_name: "a", cleanup_local: true });
  await until(() => expect(status("a")).toBeUndefined());
  world.manager.setManifests(new Map([manifest("a", "/one")]));
  await serves("a", "one");
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
  expect(drop).not.toHaveBeenCalled();
});

test("an adapter that is declared again keeps its files", async () => {
  const drop = vi.spyOn(world.store, "drop");
  await load("a", "/one");
  await serves("a", "one");
  await world.manager.unload({ lora_name: "a", cleanup_local: true });
  await load("a", "/one");
  await serves("a", "one");
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
  expect(drop).not.toHaveBeenCalled();
});

function manifest(name: string, url: string, more: Partial<Declaration> = {}): [string, Declaration] {
  const declaration = { name, url, credentials: {}, apiKey: undefined, origin: "manifest", lacksKey: false, restored: false } as const;
  return [name, { ...declaration, revision: "1", hold: undefined, baseModel: undefined, ...more }];
}

test("manifests declare, change and take away", async () => {
  world.manager.setManifests(new Map([manifest("a", "/one"), manifest("b", "/two")]));
  await serves("a", "one");
  await serves("b", "two");
  world.manager.setManifests(new Map([manifest("a", "/two")]));
  await serves("a", "two");
  await until(() => expect(status("b")).toBeUndefined());
  await expect(load("a", "/one")).rejects.toMatchObject({ status: 409, code: "NameConflict" });
  await expect(world.manager.unload({ lora_name: "a" })).rejects.toMatchObject({ status: 409 });
});

test("a manifest that was saved again is tried again; the same one is not", async () => {
  world.manager.setManifests(new Map([manifest("a", "/nothing")]));
  await failed("a", "ArtifactNotFound");
  artifacts.byUrl.set("/nothing", fakeContent("one"));
  world.manager.setManifests(new Map([manifest("a", "/nothing")]));
  expect(status("a")?.state).toBe("Failed");
  world.manager.setManifests(new Map([manifest("a", "/nothing", { revision: "2" })]));
  await serves("a", "one");
});

test("tells every change once", async () => {
  const events: WatchEvent[] = [];
  world.feed.subscribe((event) => events.push(event));
  await load("a", "/one");
  await serves("a", "one");
  await world.manager.unload({ lora_name: "a" });
  await until(() => expect(status("a")).toBeUndefined());
  const states = events.map((e) => (e.type === "ADAPTER" ? e.object.state : e.type));
  expect(states.filter((s, i) => s !== states[i - 1])).toEqual(["Pending", "Downloading", "Loading", "Serving", "Draining", "DELETED"]);
});

test("a wall clock that is set back a day puts off no retry, and the time that is told follows it", async () => {
  artifacts.byUrl.set("/away", new AdapterError("ArtifactUnavailable", "away"));
  await load("a", "/away");
  await until(() => expect(status("a")).toMatchObject({ state: "Failed" }));
  const wall = Date.now;
  const set = vi.spyOn(Date, "now").mockImplementation(() => wall() - 86_400_000);
  try {
    await until(() => expect(status("a")).toMatchObject({ state: "Failed", attempts: 2 }));
    expect(Date.parse(status("a")?.next_retry_time ?? "")).toBeLessThan(wall() - 86_000_000);
    artifacts.byUrl.set("/away", fakeContent("one"));
    await until(() => expect(status("a")).toMatchObject({ state: "Serving" }));
  } finally {
    set.mockRestore();
  }
});

test("what the engine lists serves once it has answered, and is not asked again after a restart of either", async () => {
  const answer = Promise.withResolvers<"served">();
  engine.answers.set("a", answer.promise);
  await load("a", "/one");
  await until(() => expect(engine.probes).toEqual(["a"]));
  expect(status("a")).toMatchObject({ state: "Loading", serving: null });
  // Others are loaded and asked meanwhile.
  await load("b", "/two");
  await serves("b", "two");
  answer.resolve("served");
  await serves("a", "one");
  expect(status("a")).toMatchObject({ probed: "served", attempts: 0 });
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await until(() => expect(engine.adapters.get("a")).toBe("/store/one"));
  await serves("a", "one");
  await restart();
  engine.restart("boot-3");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
  expect(engine.probes).toEqual(["a", "b"]);
});

test("what does not answer does not serve, is asked again, and is not loaded twice", async () => {
  engine.answers.set("a", new AdapterError("ProbeFailed", "HTTP 500"));
  await load("a", "/one");
  await failed("a", "ProbeFailed");
  expect(status("a")).toMatchObject({ serving: null, retryable: true, attempts: 1, next_retry_time: expect.any(String) });
  engine.answers.delete("a");
  await serves("a", "one");
  expect(engine.calls).toEqual(["load a /store/one"]);
  expect(engine.probes).toEqual(["a", "a"]);
});

test("a model without completions is not asked for one, and a call may switch it off", async () => {
  engine.answers.set("a", "notNeeded");
  await load("a", "/one");
  await serves("a", "one");
  expect(status("a")).toMatchObject({ probed: "notNeeded" });
  await world.manager.load({ lora_name: "b", artifact_url: "/two", probe: "off" });
  await serves("b", "two");
  expect(status("b")).toMatchObject({ probed: "off" });
  engine.answers.set("c", new AdapterError("ProbeFailed", "HTTP 500"));
  await load("c", "/two");
  await failed("c", "ProbeFailed");
  await world.manager.load({ lora_name: "c", artifact_url: "/two", probe: "off" });
  await serves("c", "two");
  expect(engine.probes).toEqual(["a", "c"]);
});

test("new content in place of what serves counts at once, is not asked, and is never swapped back", async () => {
  await load("a", "/one");
  await serves("a", "one");
  const seen: (string | undefined)[] = [];
  world.feed.subscribe((event) => {
    if (event.type === "ADAPTER" && engine.adapters.get("a") === "/store/two") seen.push(event.object.serving?.path);
  });
  engine.answers.set("a", new AdapterError("ProbeFailed", "no answer within 30 s"));
  await load("a", "/two");
  await serves("a", "two");
  expect(status("a")).not.toHaveProperty("probed");
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await until(() => expect(engine.adapters.get("a")).toBe("/store/two"));
  await serves("a", "two");
  await restart();
  await serves("a", "two");
  expect(engine.calls).toEqual(["load a /store/one", "unload a", "load a /store/two", "load a /store/two"]);
  expect(engine.probes).toEqual(["a"]);
  // From the moment that the engine lists it.
  expect(seen.length).toBeGreaterThan(0);
  expect(new Set(seen)).toEqual(new Set(["/store/two"]));
});

test("new content on an engine that had nothing under its name is asked, again and again under the same load", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.up = false;
  await world.observer.refresh(NEVER);
  await load("a", "/two");
  engine.answers.set("a", new AdapterError("ProbeFailed", "no answer within 30 s"));
  engine.up = true;
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await until(() => expect(status("a")).toMatchObject({ reason: "ProbeFailed", attempts: 2, serving: null }));
  engine.answers.delete("a");
  await serves("a", "two");
  expect(engine.calls).toEqual(["load a /store/one", "load a /store/two"]);
});

test("content that takes the place of some that never answered is asked", async () => {
  engine.answers.set("a", new AdapterError("ProbeFailed", "HTTP 500"));
  await load("a", "/one");
  await failed("a", "ProbeFailed");
  await load("a", "/two");
  await until(() => expect(status("a")).toMatchObject({ reason: "ProbeFailed", content_digest: "sha256:two", serving: null }));
  engine.answers.delete("a");
  await serves("a", "two");
  expect(engine.calls).toEqual(["load a /store/one", "unload a", "load a /store/two"]);
});

test("what was being taken away when the runtime ended is told as whose it was until it is gone", async () => {
  const owner = "modeladapter/default/a/u1";
  await world.manager.load({ lora_name: "a", artifact_url: "/one", owner: "modeladapter/default/a/u0" });
  await serves("a", "one");
  // Another declares the same: nothing is loaded for that.
  await world.manager.load({ lora_name: "a", artifact_url: "/one", owner });
  world.manager.setManifests(new Map([manifest("m", "/two")]));
  await serves("m", "two");
  engine.metrics = async () => metricsOf("a");
  await world.manager.unload({ lora_name: "a", owner, grace_seconds: 3600 });
  engine.up = false;
  await restart();
  expect(status("a")).toMatchObject({ state: "Draining", origin: "api", owner });
  expect(status("m")).toMatchObject({ state: "Draining", origin: "manifest" });
  expect(status("m")).not.toHaveProperty("owner");
  await expect(world.manager.unload({ lora_name: "a", owner: "modeladapter/default/b/u2" })).rejects.toMatchObject({ status: 409 });
  expect(await world.manager.unload({ lora_name: "a", owner })).toMatchObject({ status: 202, body: { owner } });
  engine.up = true;
  await world.observer.refresh(NEVER);
  await until(() => expect([status("a"), status("m")]).toEqual([undefined, undefined]));
  expect(engine.adapters.size).toBe(0);
});

test("what an earlier version was taking away goes too", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.metrics = async () => metricsOf("a");
  await world.manager.unload({ lora_name: "a", grace_seconds: 3600 });
  await world.manager.close();
  const file = join(dir, ".state/declared.json");
  const state = JSON.parse(await readFile(file, "utf8")) as { loaded: object[] };
  expect(state.loaded).toMatchObject([{ lora_name: "a", origin: "api" }]);
  const loaded = [{ lora_name: "a", path: "/store/one", content_digest: "sha256:one" }];
  await writeFile(file, JSON.stringify({ ...state, loaded }));
  engine.up = false;
  world = await start();
  expect(status("a")).toMatchObject({ state: "Draining", origin: "manifest" });
  engine.up = true;
  await world.observer.refresh(NEVER);
  await until(() => expect(status("a")).toBeUndefined());
  expect(engine.adapters.size).toBe(0);
});

test("an adapter that is taken away does not wait for its answer", async () => {
  engine.answers.set("a", new Promise(() => undefined));
  await load("a", "/one");
  await until(() => expect(engine.probes).toEqual(["a"]));
  await world.manager.unload({ lora_name: "a" });
  await until(() => expect(status("a")).toBeUndefined());
  expect(engine.adapters.size).toBe(0);
});

test("a runtime that ends before the answer asks again when it is back, and not for what served before there were probes", async () => {
  engine.answers.set("a", new Promise(() => undefined));
  await load("a", "/one");
  await until(() => expect(engine.probes).toEqual(["a"]));
  engine.answers.delete("a");
  await restart();
  await serves("a", "one");
  expect(engine.probes).toEqual(["a", "a"]);
  await world.manager.close();
  const file = join(dir, ".state/declared.json");
  await writeFile(file, (await readFile(file, "utf8")).replace(/,\s*"probed": "served"/, ""));
  world = await start();
  await serves("a", "one");
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
  expect(engine.probes).toEqual(["a", "a"]);
});

const metricsOf = (...running: readonly string[]) =>
  [
    `vllm:num_requests_running ${running.length}`,
    "vllm:num_requests_waiting 0",
    `vllm:lora_requests_info{max_lora="2",running_lora_adapters="${running.join(",")}",waiting_lora_adapters=""} 1.7e9\n`,
  ].join("\n");

test("requests under a name may end before it is unloaded, which it is as soon as they have", async () => {
  await load("a", "/one");
  await serves("a", "one");
  let looks = 0;
  engine.metrics = async () => {
    looks += 1;
    return metricsOf("a");
  };
  const before = performance.now();
  const asked = await world.manager.unload({ lora_name: "a", grace_seconds: 60 });
  expect(asked).toMatchObject({ status: 202, body: { state: "Draining", serving: { path: "/store/one" } } });
  await until(() => expect(looks).toBeGreaterThan(1));
  expect(performance.now() - before).toBeGreaterThan(1_000);
  expect(status("a")).toMatchObject({ state: "Draining", serving: { path: "/store/one" } });
  engine.metrics = async () => metricsOf("b");
  await until(() => expect(status("a")).toBeUndefined());
  expect(engine.calls).toEqual(["load a /store/one", "unload a"]);
});

test("a load call ends a drain: nothing was unloaded", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.metrics = async () => metricsOf("a");
  await world.manager.unload({ lora_name: "a", grace_seconds: 1 });
  expect(await load("a", "/one")).toMatchObject({ status: 200, body: { state: "Serving" } });
  // The grace is over, and another adapter has drained meanwhile.
  await load("b", "/two");
  await serves("b", "two");
  await world.manager.unload({ lora_name: "b", grace_seconds: 60 });
  await until(() => expect(status("b")).toBeUndefined());
  await serves("a", "one");
  expect(engine.calls).not.toContain("unload a");
});

test("requests that do not end have their grace and no more; a later call may only shorten it", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.metrics = async () => metricsOf("a");
  await world.manager.unload({ lora_name: "a", grace_seconds: 1 });
  await world.manager.unload({ lora_name: "a", grace_seconds: 3600 });
  await until(() => expect(status("a")).toBeUndefined());
  await load("a", "/one");
  await serves("a", "one");
  await world.manager.unload({ lora_name: "a", grace_seconds: 3600 });
  await world.manager.unload({ lora_name: "a" });
  await until(() => expect(status("a")).toBeUndefined());
});

test("requests that outlast an unload keep others from being swapped beside them, also once their name is back", async () => {
  for (const name of ["a", "b"]) {
    await load(name, "/one");
    await serves(name, "one");
  }
  engine.requests = { names: ["a", "b"], maxLoras: 3 };
  await world.manager.unload({ lora_name: "a", grace_seconds: 1 });
  await until(() => expect(status("a")).toBeUndefined());
  await load("a", "/two");
  await serves("a", "two");
  await load("b", "/two");
  await until(() => expect(status("b")).toHaveProperty("waits_since"));
  expect(engine.adapters.get("b")).toBe("/store/one");
  engine.requests = { names: ["b"], maxLoras: 3 };
  await serves("b", "two");
});

test("an engine that does not tell, and one that is restarted, hold a removal no longer than they must", async () => {
  for (const name of ["a", "b"]) {
    await load(name, "/one");
    await serves(name, "one");
  }
  engine.metrics = async () => "nothing of the kind 1\n";
  await world.manager.unload({ lora_name: "a", grace_seconds: 2 });
  await world.manager.unload({ lora_name: "b", grace_seconds: 3600 });
  await until(() => expect(status("a")).toBeUndefined());
  expect(status("b")?.state).toBe("Draining");
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await until(() => expect(status("b")).toBeUndefined());
});

test("files that are gone under an adapter that serves are fetched again, and it serves on", async () => {
  await load("a", "/one");
  await serves("a", "one");
  await world.manager.checkFiles("a");
  expect(artifacts.asked).toHaveLength(1);
  const back = Promise.withResolvers<ReturnType<typeof fakeContent>>();
  artifacts.byUrl.set("/one", back.promise);
  artifacts.lost.add("/store/one");
  await world.manager.checkFiles("a");
  await until(() => expect(artifacts.asked).toHaveLength(2));
  expect(status("a")).toMatchObject({ state: "Serving", serving: { path: "/store/one" }, message: expect.stringContaining("were gone") });
  back.resolve(fakeContent("one"));
  await until(() => expect(status("a")).not.toHaveProperty("message"));
  expect(status("a")).toMatchObject({ state: "Serving", serving: { path: "/store/one" } });
  expect(engine.calls).toEqual(["load a /store/one"]);
  // A source that is away leaves it serving, and is told.
  artifacts.byUrl.set("/one", new AdapterError("ArtifactUnavailable", "away"));
  artifacts.lost.add("/store/one");
  await world.manager.checkFiles("a");
  await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason: "ArtifactUnavailable", serving: { path: "/store/one" } }));
});

test("what the engine has and has not answered for serves while nothing newer can be had", async () => {
  engine.answers.set("a", new Promise(() => undefined));
  await load("a", "/one");
  await until(() => expect(engine.probes).toEqual(["a"]));
  engine.answers.delete("a");
  await load("a", "/nowhere");
  await until(() => expect(status("a")).toMatchObject({ reason: "ArtifactNotFound", serving: { path: "/store/one" } }));
});

const prepare = (url: string, more: object = {}) => world.manager.prepare({ lora_name: "a", artifact_url: url, ...more });
const prepared = (want: object) => until(() => expect(status("a")?.prepared).toMatchObject(want));

test("what comes next is fetched and checked beside what serves, and then needs no source", async () => {
  await load("a", "/one");
  await serves("a", "one");
  expect(prepare("/two")).toMatchObject({ status: 202 });
  await prepared({ artifact_url: "/two", state: "Ready", content_digest: "sha256:two" });
  expect(status("a")).toMatchObject({ state: "Serving", artifact_url: "/one", serving: { path: "/store/one" } });
  expect(prepare("/two")).toMatchObject({ status: 200 });
  expect(engine.calls).toEqual(["load a /store/one"]);
  const asked = artifacts.asked.length;
  await world.manager.load({ lora_name: "a", artifact_url: "/two", content: { digest: "sha256:two" } });
  await serves("a", "two");
  expect(status("a")?.prepared).toBeUndefined();
  expect([artifacts.asked.length, engine.calls]).toEqual([asked, ["load a /store/one", "unload a", "load a /store/two"]]);
});

test("another key is tried at the engine before it is used, and again once that was restarted", async () => {
  engine.apiKey = "right";
  await load("a", "/one", "right");
  await serves("a", "one");
  const withKey = (key: string) => prepare("/one", { prove: true, refresh: key, additional_config: { "api-key": key } });
  withKey("wrong");
  await prepared({ state: "Failed", reason: "EngineUnauthorized", retryable: false });
  expect(status("a")).toMatchObject({ state: "Serving" });
  withKey("right");
  await prepared({ refresh: "right", state: "Ready" });
  withKey("next");
  await prepared({ refresh: "next", state: "Failed" });
  // It is started anew, with that key and without adapters.
  engine.apiKey = "next";
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await prepared({ refresh: "next", state: "Ready" });
  await load("a", "/one", "next");
  await world.observer.refresh(NEVER);
  await serves("a", "one");
});

test("new content that is declared with a wrong key costs nothing that serves, also where it is not prepared with that", async () => {
  engine.apiKey = "right";
  await load("a", "/one", "right");
  await serves("a", "one");
  await load("a", "/two", "wrong");
  await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason: "EngineUnauthorized", serving: { path: "/store/one" } }));
  expect(engine.calls).toEqual(["load a /store/one", "unload a", "load a /store/two", "load a /store/one"]);
  // What an update that ends so is followed by.
  await load("a", "/one", "wrong");
  await serves("a", "one");
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await until(() => expect(engine.adapters.get("a")).toBe("/store/one"));
});

test.each([
  { name: "the key that the adapter is served with", given: {}, want: { state: "Ready", checks: 1 } },
  { name: "the key of the call", given: { additional_config: { "api-key": "wrong" } }, want: { reason: "EngineUnauthorized" } },
])("prompts are asked with $name", async ({ given, want }) => {
  engine.apiKey = "right";
  await load("a", "/one", "right");
  await serves("a", "one");
  engine.ask = async () => ({ status: 200, body: '{"choices":[{"text":"x"}]}' });
  const check = { prompt: "p", max_tokens: 1, expect: { status: 200, not_empty: true, max_latency_ms: 1_000 } };
  prepare("/two", { checks: [check], ...given });
  await prepared(want);
});

test("credentials are tried at the source where that is asked for", async () => {
  await load("a", "/one");
  await serves("a", "one");
  prepare("/one", { refresh: "1" });
  await prepared({ refresh: "1", state: "Ready" });
  prepare("/one", { refresh: "2", prove: true, content: { digest: "sha256:one" } });
  await prepared({ refresh: "2", state: "Ready" });
  expect(artifacts.asked.slice(-2).map((w) => w.prove)).toEqual([false, true]);
});

test("what comes next and cannot be served is told, and touches nothing", async () => {
  await load("a", "/one");
  await serves("a", "one");
  prepare("/missing");
  await prepared({ state: "Failed", reason: "ArtifactNotFound", retryable: false });
  artifacts.facts.set("/store/two", ofRank(32));
  prepare("/two");
  await prepared({ artifact_url: "/two", state: "Failed", reason: "ArtifactUnfit" });
  prepare("/two", { limits: { max_lora_rank: 32 } });
  await prepared({ state: "Ready", max_rank: 32 });
  expect(status("a")).toMatchObject({ state: "Serving", attempts: 0, serving: { path: "/store/one" } });
  expect(engine.calls).toEqual(["load a /store/one"]);
  expect(() => world.manager.prepare({ lora_name: "b", artifact_url: "/two" })).toThrow("no adapter");
});

test("another wish to look at the reference looks again, and what is told again of what serves changes nothing of that", async () => {
  await load("a", "/one");
  await serves("a", "one");
  prepare("/one", { refresh: "1" });
  await prepared({ refresh: "1", state: "Ready", content_digest: "sha256:one" });
  artifacts.byUrl.set("/one", fakeContent("two"));
  prepare("/one", { refresh: "2" });
  await prepared({ refresh: "2", state: "Ready", content_digest: "sha256:two" });
  await world.manager.load({ lora_name: "a", artifact_url: "/one", content: { digest: "sha256:one" } });
  expect(status("a")).toMatchObject({ state: "Serving", serving: { path: "/store/one" }, prepared: { refresh: "2" } });
  await world.manager.load({ lora_name: "a", artifact_url: "/one", content: { digest: "sha256:two" } });
  await serves("a", "two");
});

test("what was to come next is given up, its files too, once somebody says that what serves is all", async () => {
  await load("a", "/one");
  await serves("a", "one");
  const swept: boolean[] = [];
  vi.spyOn(world.store, "sweep").mockImplementation(
    async (isNeeded) => void swept.push(isNeeded("a", "sha256:two"), isNeeded("a", "sha256:one")),
  );
  prepare("/two", { refresh: "1" });
  await prepared({ state: "Ready", content_digest: "sha256:two" });
  expect(swept).toEqual([]);
  // Not by these: who says less asks for another look at where it leads.
  prepare("/one", { refresh: "2" });
  await prepared({ refresh: "2", state: "Ready" });
  prepare("/one", { content: { digest: "sha256:other" } });
  expect(status("a")?.prepared).toBeDefined();
  let arrive = (_: ReturnType<typeof fakeContent>): void => undefined;
  artifacts.byUrl.set("/slow", new Promise((resolve) => (arrive = resolve)));
  prepare("/slow", { refresh: "3" });
  await prepared({ artifact_url: "/slow", state: "Downloading" });
  swept.length = 0;
  expect(prepare("/one", { content: { digest: "sha256:one" } })).toMatchObject({ status: 200, body: { state: "Serving" } });
  expect(status("a")?.prepared).toBeUndefined();
  await until(() => expect(swept.slice(-2)).toEqual([false, true]));
  arrive(fakeContent("two"));
  await world.observer.refresh(NEVER);
  expect([status("a")?.prepared, engine.calls]).toEqual([undefined, ["load a /store/one"]]);
});

test("files of content that was replaced stay until a look at the engine long after shows no request of the name", async () => {
  engine.requests = { names: [] };
  await load("a", "/one");
  await serves("a", "one");
  await load("a", "/two");
  await serves("a", "two");
  const swept: (readonly [string | undefined, boolean, boolean])[] = [];
  vi.spyOn(world.store, "sweep").mockImplementation(
    async (isNeeded, only) => void swept.push([only, isNeeded("a", "sha256:one"), isNeeded("a", "sha256:two")]),
  );
  const look = async (names: readonly string[]) => {
    engine.requests = { names };
    world.manager.lookedAt(await engine.metrics(), performance.now() + passedMs);
  };
  await look([]);
  passedMs = 61_000;
  await look(["a"]);
  expect(swept).toEqual([]);
  // The time counts from when the swap was written down, a moment after it serves.
  const later = async (wanted: readonly [string, boolean, boolean]) =>
    await vi.waitFor(
      async () => {
        passedMs += 61_000;
        await look([]);
        expect(swept.at(-1)).toEqual(wanted);
      },
      { timeout: 5_000, interval: 20 },
    );
  // What is kept as long as the new content may have to be taken back is none of its affair.
  await later(["a", false, true]);
  // Back again it is read again.
  await load("a", "/one");
  await serves("a", "one");
  await later(["a", true, false]);
});

test("what cannot be prepared is tried again as long as it was asked for lately, and no longer", async () => {
  await load("a", "/one");
  await serves("a", "one");
  artifacts.byUrl.set("/away", new AdapterError("ArtifactUnavailable", "the storage does not answer", { retryable: true }));
  prepare("/away", { refresh: "1" });
  await prepared({ state: "Failed", attempts: 1, retryable: true });
  passedMs = 700_000;
  prepare("/away", { refresh: "1" });
  await prepared({ state: "Failed", attempts: 2, retryable: true });
  passedMs = 1_400_000;
  await until(() => expect(status("a")?.prepared).toBeUndefined());
  const tries = artifacts.asked.length;
  // Asked for anew it begins anew.
  artifacts.byUrl.set("/away", fakeContent("two"));
  prepare("/away", { refresh: "1" });
  await prepared({ state: "Ready", attempts: 0 });
  expect([tries, artifacts.asked.length]).toEqual([4, 5]);
});

test("requests of what serves end before new content takes its place, where there is no room for both", async () => {
  engine.requests = { names: ["a"], maxLoras: 1 };
  await load("a", "/one");
  await serves("a", "one");
  await load("a", "/two");
  await until(() => expect(status("a")).toMatchObject({ state: "Updating", waits_since: expect.any(String) }));
  expect(engine.calls).toEqual(["load a /store/one"]);
  engine.requests = { names: [], maxLoras: 1 };
  await serves("a", "two");
  expect(status("a")?.waits_since).toBeUndefined();
});

test("where there is room for both nothing has to end; a second time it has, for nobody knows whose requests run", async () => {
  engine.requests = { names: ["a"], maxLoras: 8 };
  await load("a", "/one");
  await serves("a", "one");
  const shown = vi.spyOn(world.feed, "setAdapter");
  await load("a", "/two");
  await serves("a", "two");
  // Whoever takes the pod out while it waits has no reason to.
  expect(shown.mock.calls.filter(([adapter]) => adapter.waits_since !== undefined)).toEqual([]);
  await load("a", "/one");
  await until(() => expect(status("a")).toMatchObject({ state: "Updating", waits_since: expect.any(String) }));
  engine.requests = { names: [], maxLoras: 8 };
  await serves("a", "one");
});

test("requests that do not end are waited for as long as the call says, and what nobody is sent to has to answer", async () => {
  engine.requests = { names: ["a"], maxLoras: 1 };
  await load("a", "/one");
  await serves("a", "one");
  engine.probes = [];
  await world.manager.load({ lora_name: "a", artifact_url: "/two", drain_seconds: 1 });
  await until(() => expect(status("a")).toMatchObject({ waits_since: expect.any(String) }));
  await serves("a", "two");
  expect([status("a")?.probed, engine.probes]).toEqual(["served", ["a"]]);
});

test("without a word of the call they are waited for less long than the gateway holds new ones", async () => {
  engine.requests = { names: ["a"], maxLoras: 1 };
  await load("a", "/one");
  await serves("a", "one");
  await load("a", "/two");
  await until(() => expect(status("a")).toMatchObject({ state: "Updating", waits_since: expect.any(String) }));
  const warn = vi.spyOn(SILENT, "warn");
  passedMs += 25_000;
  await load("a", "/two");
  expect(warn.mock.calls.map(([, text]) => text)).toEqual([expect.stringContaining("have not ended in their time")]);
  warn.mockRestore();
  await serves("a", "two");
});

test("exactly one content of a reference is asked for, also after a restart", async () => {
  await world.manager.load({ lora_name: "a", artifact_url: "/one", content: { digest: "sha256:one", revision: "c0" } });
  await serves("a", "one");
  await restart();
  await serves("a", "one");
  expect(artifacts.asked.map((w) => w.content)).toEqual([
    { digest: "sha256:one", revision: "c0" },
    { digest: "sha256:one", revision: "c0" },
  ]);
});

test("content that was checked and cannot be taken away at once is taken away later", async () => {
  await load("a", "/one");
  await serves("a", "one");
  const unload = engine.unload.bind(engine);
  let refused = 0;
  engine.unload = async (adapter) => {
    if (refused++ === 0) throw new AdapterError("EngineRefused", "not now");
    await unload(adapter);
  };
  engine.ask = async () => {
    expect([...engine.adapters.keys()]).toEqual(["a", expect.stringMatching(/^a@check-/)]);
    return { status: 200, body: '{"choices":[{"text":"x"}]}' };
  };
  prepare("/two", { checks: [{ prompt: "p", max_tokens: 1, expect: { status: 200, not_empty: true, max_latency_ms: 1_000 } }] });
  await prepared({ state: "Ready", checks: 1 });
  await world.observer.refresh(NEVER);
  await until(() => expect([...engine.adapters.keys()]).toEqual(["a"]));
  expect([refused, status("a")?.state]).toEqual([2, "Serving"]);
});

test("content that was checked and could not be taken away for long is taken away with the next look at the engine's metrics", async () => {
  await load("a", "/one");
  await serves("a", "one");
  const unload = engine.unload.bind(engine);
  let isBusy = true;
  engine.unload = async (adapter) => {
    passedMs += 31_000;
    if (isBusy) throw new AdapterError("EngineUnavailable", "it did not answer in time");
    await unload(adapter);
  };
  engine.ask = async () => {
    // It is in the engine's list before anybody would take it away, and nothing of that changes later.
    await world.observer.refresh(NEVER);
    return { status: 200, body: '{"choices":[{"text":"x"}]}' };
  };
  prepare("/two", { checks: [{ prompt: "p", max_tokens: 1, expect: { status: 200, not_empty: true, max_latency_ms: 1_000 } }] });
  await prepared({ state: "Ready", checks: 1 });
  isBusy = false;
  expect([...engine.adapters.keys()]).toEqual(["a", expect.stringMatching(/^a@check-/)]);
  await world.observer.refresh(NEVER);
  expect(engine.adapters.size).toBe(2);
  world.manager.lookedAt(await engine.metrics(), performance.now() + passedMs);
  await until(() => expect([...engine.adapters.keys()]).toEqual(["a"]));
});

test("an engine that goes away while a swap waits for its requests is not asked again and again", async () => {
  engine.requests = { names: ["a"] };
  await load("a", "/one");
  await serves("a", "one");
  await world.manager.load({ lora_name: "a", artifact_url: "/two", drain_seconds: 0.2 });
  await until(() => expect(status("a")).toMatchObject({ waits_since: expect.any(String) }));
  engine.up = false;
  await world.observer.refresh(NEVER);
  const shown = vi.spyOn(world.feed, "setAdapter");
  const laterMs = performance.now() + 500;
  await until(() => expect(performance.now()).toBeGreaterThan(laterMs));
  expect(shown.mock.calls.length).toBeLessThan(20);
  // Its requests went with it.
  engine.up = true;
  engine.restart("boot-2");
  await world.observer.refresh(NEVER);
  await serves("a", "two");
  expect(status("a")?.waits_since).toBeUndefined();
});

test("content that an engine refused for now waits for requests again before it is tried again", async () => {
  engine.requests = { names: [] };
  await load("a", "/one");
  await serves("a", "one");
  engine.refusals.set("/store/two", new AdapterError("EngineUnavailable", "busy", { retryable: true }));
  await load("a", "/two");
  await until(() => expect(engine.calls).toContain("load a /store/two"));
  engine.requests = { names: ["a"] };
  engine.refusals.clear();
  await until(() => expect(status("a")).toMatchObject({ waits_since: expect.any(String), serving: { path: "/store/one" } }));
  engine.requests = { names: [] };
  await serves("a", "two");
});

test("how often an engine refused new content is told while the old one serves, for whoever declares it to end that", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.refusals.set("/store/two", new AdapterError("ArtifactNotFound", "missing", { retryable: true }));
  await load("a", "/two");
  const serving = { path: "/store/one" };
  await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason: "ArtifactNotFound", attempts: 2, serving }));
  await load("a", "/one");
  await until(() => expect(status("a")).toMatchObject({ state: "Serving", attempts: 0, serving }));
});

/** Another process of the engine comes up. */
async function engineBack(boot: string) {
  engine.up = true;
  engine.restart(boot);
  await world.observer.refresh(NEVER);
}

test.each(["load", "request"] as const)("new content that ends the engine twice by its first %s is not given to it again", async (how) => {
  await load("a", "/one");
  await load("b", "/one");
  await serves("a", "one");
  await serves("b", "one");
  engine.endsBy.set("/store/two", how);
  engine.calls = [];
  await world.manager.load({ lora_name: "a", artifact_url: "/two", drain_seconds: 0 });
  await until(() => expect(engine.up).toBe(false));
  await until(() => expect(status("a")).toMatchObject({ reason: "EngineUnavailable", retryable: true }));
  expect(status("a")?.message).toContain("the engine ended while");
  await engineBack("boot-2");
  await until(() => expect(engine.up).toBe(false));
  await failed("a", "EngineRefused");
  expect(status("a")).toMatchObject({ retryable: false, message: expect.stringContaining("ended 2 times") });
  for (const boot of ["boot-3", "boot-4"]) {
    await engineBack(boot);
    await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason: "EngineRefused", serving: { path: "/store/one" } }));
    await serves("b", "one");
  }
  expect(engine.calls.filter((call) => call === "load a /store/two")).toHaveLength(2);
  // Whoever declares it anew has it tried anew.
  engine.endsBy.clear();
  await load("a", "/one");
  await serves("a", "one");
  await load("a", "/two");
  await serves("a", "two");
});

test("an engine that ends again and again while it is given back what it had says nothing of that", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.endsBy.set("/store/one", "load");
  for (const boot of ["boot-2", "boot-3", "boot-4"]) {
    await engineBack(boot);
    await until(() => expect(engine.up).toBe(false));
    await failed("a", "EngineUnavailable");
  }
  engine.endsBy.clear();
  await engineBack("boot-5");
  await serves("a", "one");
});

test("an engine that was gone before it was given content did not end by that", async () => {
  const refused = { cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) };
  engine.refusals.set("/store/two", new AdapterError("EngineUnavailable", "it does not answer", refused));
  await load("a", "/two");
  for (const boot of ["boot-2", "boot-3", "boot-4"]) {
    await failed("a", "EngineUnavailable");
    engine.up = false;
    await world.observer.refresh(NEVER);
    await engineBack(boot);
  }
  engine.refusals.clear();
  await engineBack("boot-5");
  await serves("a", "two");
});

/** Has the runtime end in the middle of a swap, and another one start; `taken`: the engine has loaded the new content by then. */
async function killedInSwap(to: string, taken: boolean) {
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const load = engine.load.bind(engine);
  engine.load = async (call) => {
    if (taken) await load(call);
    begun.resolve();
    await gate.promise;
    throw new AdapterError("EngineUnavailable", "nobody hears of it any more");
  };
  await world.manager.load({ lora_name: "a", artifact_url: to });
  await begun.promise;
  const file = join(dir, ".state/declared.json");
  const state = await readFile(file, "utf8");
  const closed = world.manager.close();
  gate.resolve();
  await closed;
  await writeFile(file, state);
  engine.load = load;
  world = await start();
}

test("a runtime that ended in the middle of a swap takes what served for what to go on with, not what was to", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.requests = { names: [], maxLoras: 2 };
  await killedInSwap("/bad", false);
  await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason: "EngineRefused", serving: { path: "/store/one" } }));
  await load("a", "/two");
  await serves("a", "two");
});

test("content that ends the engine is not above suspicion because a runtime ended in the middle of its load", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.requests = { names: [], maxLoras: 2 };
  await killedInSwap("/two", false);
  engine.endsBy.set("/store/two", "load");
  for (const boot of ["boot-2", "boot-3"]) {
    await until(() => expect(engine.up).toBe(false));
    await engineBack(boot);
  }
  await until(() => expect(status("a")).toMatchObject({ state: "Failed", reason: "EngineRefused", serving: { path: "/store/one" } }));
});

test("new content that the engine took as the runtime ended serves at once, and is what to go on with from then on", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.requests = { names: [], maxLoras: 2 };
  await killedInSwap("/two", true);
  await serves("a", "two");
  expect(engine.probes).toEqual(["a"]);
  engine.calls = [];
  await load("a", "/bad");
  await until(() => expect(status("a")).toMatchObject({ reason: "EngineRefused", serving: { path: "/store/two" } }));
  expect(engine.calls).toEqual(["unload a", "load a /store/bad", "load a /store/two"]);
});

test("what the engine took as the runtime ended is put back first after a restart of both", async () => {
  await load("a", "/one");
  await serves("a", "one");
  engine.requests = { names: [], maxLoras: 2 };
  await killedInSwap("/two", true);
  await serves("a", "two");
  engine.restart("boot-2");
  artifacts.byUrl.set("/two", new Promise(() => undefined));
  await restart();
  await until(() => expect(engine.adapters.get("a")).toBe("/store/two"));
});
