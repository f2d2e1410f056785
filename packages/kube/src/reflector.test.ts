import { afterEach, beforeEach, expect, test } from "vitest";
import { KubeClient } from "./client.ts";
import { Reflector, type ReflectorOptions } from "./reflector.ts";
import { PODS } from "./resource.ts";
import { drop, FakeApiServer, type Fault, fail, hang, memoryLog } from "./testing/fake-api-server.ts";
import type { Pod } from "./types.ts";

/** So short that a reflector which is never told to stop would be seen to loop. */
const TIMING = {
  watchMs: [60_000, 60_000],
  graceMs: 60_000,
  silenceMs: 60_000,
  shortWatchMs: 1_000,
  requestMs: 200,
  backoff: { baseMs: 2, maxMs: 20 },
} as const;

let server: FakeApiServer;
let client: KubeClient;
let stop: AbortController;
let running: Promise<void> | undefined;

beforeEach(async () => {
  server = await FakeApiServer.start();
  client = new KubeClient({ config: server.config(), userAgent: "test", fieldManager: "test" });
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await running;
  await client.close();
  await server[Symbol.asyncDispose]();
});

function start(options: Partial<ReflectorOptions<Pod>> = {}): {
  reflector: Reflector<Pod>;
  names: () => string[];
  log: ReturnType<typeof memoryLog>;
} {
  const log = memoryLog();
  const reflector = new Reflector({ client, resource: PODS, namespace: "ns", log, timing: TIMING, ...options });
  running = reflector.run(stop.signal);
  return { reflector, names: () => [...reflector.store.values()].map((p) => p.metadata.name).sort(), log };
}

async function watching(): Promise<void> {
  await expect.poll(() => server.openWatches).toBe(1);
}

test("tells since when the API server does not answer, from its start and after a loss", async () => {
  const startMs = performance.now();
  server.failNext("list", fail(503, "ServiceUnavailable"), fail(503, "ServiceUnavailable"));
  const { reflector } = start();
  expect(reflector.resource).toBe("pods");
  const bornMs = reflector.state.disconnectedSinceMs ?? Number.NaN;
  expect(bornMs).toBeGreaterThanOrEqual(startMs);
  await expect.poll(() => reflector.state.failures).toBe(2);
  await watching();
  expect(reflector.state.disconnectedSinceMs).toBeUndefined();
  const lostMs = performance.now();
  server.faults.push(fail(503, "ServiceUnavailable"));
  server.endWatches();
  await expect.poll(() => reflector.state.failures).toBeGreaterThan(4);
  const since = reflector.state.disconnectedSinceMs ?? Number.NaN;
  expect(since).toBeGreaterThanOrEqual(lostMs);
  await expect.poll(() => reflector.state.failures).toBeGreaterThan(8);
  expect(reflector.state.disconnectedSinceMs).toBe(since);
});

test("fills its store, says so, and follows additions, changes and deletions", async () => {
  server.put("a", { status: { phase: "Pending" } });
  const { reflector, names } = start();
  expect(reflector.hasSynced).toBe(false);
  await reflector.synced(AbortSignal.timeout(5_000));
  expect(names()).toEqual(["a"]);
  await watching();
  server.put("b");
  server.put("a", { status: { phase: "Running" } });
  await expect.poll(() => reflector.store.get("ns/a")?.status?.phase).toBe("Running");
  server.remove("a");
  await expect.poll(names).toEqual(["b"]);
  expect([server.count("list"), server.count("watch")]).toEqual([1, 1]);
  expect(server.seen.at(-1)?.query.get("allowWatchBookmarks")).toBe("true");
  expect(reflector.state).toMatchObject({ synced: true, connected: true, lists: 1, watches: 1, failures: 0 });
});

test("lists in pages, and all at once where the pages expire", async () => {
  for (let i = 0; i < 1200; i++) server.put(`p${i}`);
  const { reflector } = start();
  await reflector.synced(AbortSignal.timeout(5_000));
  expect(reflector.store.size).toBe(1200);
  expect(server.seen.filter((s) => s.verb === "list").map((s) => s.query.get("limit"))).toEqual(["500", "500", "500"]);
  stop.abort();
  await running;
  stop = new AbortController();
  const expireSecondPage: Fault = (seen, answer) => seen.query.has("continue") && fail(410, "Expired")(seen, answer);
  server.faults.push(expireSecondPage);
  const second = start();
  await second.reflector.synced(AbortSignal.timeout(5_000));
  expect(second.reflector.store.size).toBe(1200);
  expect(server.seen.findLast((s) => s.verb === "list")?.query.has("limit")).toBe(false);
});

/** Each: what happens to the first tries to list or to watch. */
test.each<{ name: string; verb: "list" | "watch"; faults: Fault[]; lists: number }>([
  { name: "a list that fails with 500", verb: "list", faults: [fail(500, "InternalError"), fail(500, "InternalError")], lists: 3 },
  { name: "a list whose connection drops", verb: "list", faults: [drop, drop], lists: 3 },
  { name: "a list that is never answered", verb: "list", faults: [hang], lists: 2 },
  { name: "a list that is no JSON", verb: "list", faults: [(_s, a) => void a.end("<html>") === undefined], lists: 2 },
  { name: "a list that is no list", verb: "list", faults: [(_s, a) => void a.end("{}") === undefined], lists: 2 },
  { name: "a list that is forbidden", verb: "list", faults: [fail(403, "Forbidden"), fail(403, "Forbidden")], lists: 3 },
  { name: "a list of a kind that is not there yet", verb: "list", faults: [fail(404, "NotFound")], lists: 2 },
  { name: "a watch that fails with 500", verb: "watch", faults: [fail(500, "InternalError"), fail(503, "Unavailable")], lists: 1 },
  { name: "a watch with 429", verb: "watch", faults: [fail(429, "TooManyRequests", { retryAfterS: 0.01 })], lists: 1 },
  { name: "a watch that drops", verb: "watch", faults: [drop, drop, drop], lists: 1 },
  { name: "a watch that is never answered", verb: "watch", faults: [hang], lists: 1 },
  {
    name: "a watch that ends at once, again and again",
    verb: "watch",
    faults: [1, 2, 3, 4].map(() => (_s, a) => void a.end() === undefined),
    lists: 1,
  },
  { name: "a watch whose version expired", verb: "watch", faults: [fail(410, "Expired")], lists: 2 },
  {
    name: "a watch that sends an ERROR of 410",
    verb: "watch",
    faults: [(_s, a) => void a.end('{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n') === undefined],
    lists: 2,
  },
  {
    name: "a watch that sends an ERROR of 500",
    verb: "watch",
    faults: [(_s, a) => void a.end('{"type":"ERROR","object":{"kind":"Status","code":500}}\n') === undefined],
    lists: 1,
  },
  { name: "a watch that sends garbage", verb: "watch", faults: [(_s, a) => void a.end("garbage\n") === undefined], lists: 2 },
  {
    name: "a watch that sends an event without a name",
    verb: "watch",
    faults: [(_s, a) => void a.end('{"type":"ADDED","object":{}}\n') === undefined],
    lists: 2,
  },
])("survives $name", async ({ verb, faults, lists }) => {
  server.put("a");
  server.failNext(verb, ...faults);
  const { reflector, names } = start();
  await watching();
  server.put("b");
  await expect.poll(names).toEqual(["a", "b"]);
  expect([server.count("list"), reflector.state.lists]).toEqual([lists, lists]);
  expect(server.count("watch")).toBe(verb === "watch" ? faults.length + 1 : 1);
  expect(reflector.state.failures).toBe(faults.length);
});

test("misses nothing that happened while a watch was broken", async () => {
  server.put("a");
  const { names } = start();
  await watching();
  server.mute();
  server.put("b");
  server.remove("a");
  server.cut();
  await expect.poll(names).toEqual(["b"]);
  expect(server.count("list")).toBe(1);
});

test("lists again where what happened in between is forgotten, and tells what is gone", async () => {
  server.put("a");
  server.put("b");
  const { reflector, names } = start();
  await watching();
  const told: string[] = [];
  reflector.store.onChange((c) => told.push(`${c.type} ${c.key}`));
  told.length = 0;
  server.mute();
  server.remove("a");
  server.put("c");
  server.compact();
  server.cut();
  await expect.poll(names).toEqual(["b", "c"]);
  expect(told).toEqual(["deleted ns/a", "added ns/c"]);
});

test("notices a watch that falls silent after bookmarks", async () => {
  const { reflector, names } = start({ timing: { ...TIMING, silenceMs: 50 } });
  await watching();
  server.bookmark();
  server.mute();
  server.put("a");
  await expect.poll(() => reflector.state.lastError).toContain("fell silent");
  await expect.poll(names).toEqual(["a"]);
  expect(server.count("list")).toBe(1);
});

test("ends a watch that the server forgot to end", async () => {
  const { reflector, names } = start({ timing: { ...TIMING, watchMs: [10, 10], graceMs: 30, shortWatchMs: 0 } });
  await expect.poll(() => reflector.state.lastError).toContain("did not end the watch in time");
  server.put("a");
  await expect.poll(names).toEqual(["a"]);
});

test("begins the next watch at once where the server ended one in its time, without a new list", async () => {
  const { names, reflector } = start({ timing: { ...TIMING, shortWatchMs: 0, backoff: { baseMs: 60_000, maxMs: 60_000 } } });
  for (let round = 1; round <= 3; round++) {
    await expect.poll(() => [server.openWatches, server.count("watch")]).toEqual([1, round]);
    server.endWatches();
  }
  await expect.poll(() => server.count("watch")).toBe(4);
  server.put("a");
  await expect.poll(names).toEqual(["a"]);
  expect(reflector.state).toMatchObject({ lists: 1, failures: 0 });
});

test("a bookmark moves the version on, so that a later break needs no list", async () => {
  const { names } = start();
  await watching();
  server.compact();
  server.bookmark();
  await new Promise((resolve) => setImmediate(resolve));
  await expect.poll(() => server.openWatches).toBe(1);
  server.put("seen");
  await expect.poll(names).toEqual(["seen"]);
  server.cut();
  await expect.poll(() => server.count("watch")).toBe(2);
  await watching();
  expect(server.count("list")).toBe(1);
});

test("starts anew where the server's versions went back", async () => {
  server.put("a");
  const { reflector, names } = start();
  await watching();
  server.rewind();
  server.put("b");
  await expect.poll(names).toEqual(["a", "b"]);
  await expect.poll(() => reflector.state.lists).toBe(2);
});

test("a server that is away for long is asked less and less often", async () => {
  server.faults.push(drop);
  const { log, reflector } = start({ timing: { ...TIMING, backoff: { baseMs: 1, maxMs: 1_000_000 } }, random: () => 0 });
  await expect.poll(() => reflector.state.failures).toBeGreaterThanOrEqual(8);
  const delays = log.lines.map((line) => JSON.parse(line.slice(line.indexOf("{"))).delayMs);
  expect(delays.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 64, 128]);
});

test("waits in earnest: no call is made before the time is up", async () => {
  server.faults.push((seen, answer) => seen.path !== "/other" && drop(seen, answer));
  const { reflector } = start({ timing: { ...TIMING, backoff: { baseMs: 1e6, maxMs: 1e6 } } });
  await expect.poll(() => reflector.state.failures).toBe(1);
  // A loop would have gone round many times meanwhile.
  for (let i = 0; i < 20; i++) await (await fetch(`${server.url}/other`)).text();
  expect(server.seen.filter((s) => s.path !== "/other")).toHaveLength(1);
});

test("waits as long as the server asks", async () => {
  server.failNext("watch", fail(429, "TooManyRequests", { retryAfterS: 0.3 }));
  const { log } = start();
  await watching();
  expect(log.lines[0]).toContain('"delayMs":300');
});

test("keeps what the transform leaves, and drops managedFields by itself", async () => {
  server.put("a", { spec: { containers: [], nodeName: "n" }, status: { phase: "Running" } });
  const { reflector } = start({
    transform: ({ metadata, spec }) => ({ metadata, spec: { containers: [], nodeName: spec.nodeName ?? "" } }),
  });
  await reflector.synced(AbortSignal.timeout(5_000));
  expect(reflector.store.get("ns/a")).not.toHaveProperty("status");
  expect(reflector.store.get("ns/a")?.spec.nodeName).toBe("n");
});

test("stops at once, also in the middle of a list", async () => {
  server.faults.push(hang);
  start({ timing: { ...TIMING, requestMs: 60_000 } });
  await expect.poll(() => server.count("list")).toBe(1);
  stop.abort();
  await running;
});
