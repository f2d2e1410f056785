import { CONFIG_MAPS, type ConfigMap, type KubeClient, NAMESPACES, Reflector } from "@aibrix/kube";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { silent, TestPlane } from "./support/plane.ts";

const signal = AbortSignal.timeout(3_600_000);
let plane: TestPlane;
let stop: AbortController;
const running: Promise<void>[] = [];

beforeAll(async () => {
  plane = await TestPlane.start();
}, 3_600_000);
afterAll(async () => {
  await plane?.[Symbol.asyncDispose]();
});
afterEach(async () => {
  stop.abort();
  await Promise.all(running.splice(0));
});

function reflect(client: KubeClient, namespace: string): Reflector<ConfigMap> {
  stop = new AbortController();
  const reflector = new Reflector({ client, resource: CONFIG_MAPS, namespace, log: silent });
  running.push(reflector.run(stop.signal));
  return reflector;
}

/** What the server holds, and what the reflector believes. */
async function differences(client: KubeClient, reflector: Reflector<ConfigMap>, namespace: string): Promise<string[]> {
  const say = (c: ConfigMap) => `${c.metadata.name}=${c.data?.v}@${c.metadata.resourceVersion}`;
  const truth = new Set((await client.list(CONFIG_MAPS, { namespace }, signal)).map(say));
  const belief = new Set([...reflector.store.values()].map(say));
  return [...truth].filter((x) => !belief.has(x)).concat([...belief].filter((x) => !truth.has(x)));
}

test("stays true over kill -9 of the API server, three times, with changes before and after, and few calls", async () => {
  const writer = plane.connect();
  const reader = plane.connect();
  await writer.client.create(NAMESPACES, { metadata: { name: "restarts" } }, {}, signal);
  const put = (name: string, v: string) =>
    writer.client.apply(CONFIG_MAPS, { metadata: { namespace: "restarts", name }, data: { v } }, {}, signal);
  for (let i = 0; i < 20; i++) await put(`cm-${i}`, "0");
  const reflector = reflect(reader.client, "restarts");
  await reflector.synced(signal);
  for (let round = 1; round <= 3; round++) {
    await put("cm-0", `before ${round}`);
    await plane.plane.killApiserver();
    await expect.poll(() => reflector.state.connected).toBe(false);
    await plane.plane.startApiserver(signal);
    await put("cm-1", `after ${round}`);
    await writer.client.delete(CONFIG_MAPS, { namespace: "restarts", name: `cm-${10 + round}` }, {}, signal);
    await expect.poll(() => differences(writer.client, reflector, "restarts"), { timeout: 60_000, interval: 20 }).toEqual([]);
  }
  expect(reflector.hasSynced).toBe(true);
  // Some seconds of absence each: a loop without backoff would have made thousands of calls.
  expect(reader.calls.length).toBeLessThan(100);
});

test("a version that expired while the server was away is met by a new list", async () => {
  const writer = plane.connect();
  const reader = plane.connect();
  await writer.client.create(NAMESPACES, { metadata: { name: "expired" } }, {}, signal);
  const put = (name: string, v: string) =>
    writer.client.apply(CONFIG_MAPS, { metadata: { namespace: "expired", name }, data: { v } }, {}, signal);
  await put("a", "1");
  await put("b", "1");
  // This client's calls go nowhere while it is cut off; the server forgets its history by its restart.
  let cutOff = false;
  const reached = Object.create(reader.client) as KubeClient;
  reached.listPage = (...args) => (cutOff ? Promise.reject(new Error("cut off")) : reader.client.listPage(...args));
  reached.watch = async function* (...args) {
    if (cutOff) throw new Error("cut off");
    yield* reader.client.watch(...args);
  } as KubeClient["watch"];
  const reflector = reflect(reached, "expired");
  await reflector.synced(signal);
  const told: string[] = [];
  reflector.store.onChange((c) => told.push(`${c.type} ${c.key}`));
  told.length = 0;
  cutOff = true;
  await plane.plane.restartApiserver(signal);
  await put("a", "2");
  await writer.client.delete(CONFIG_MAPS, { namespace: "expired", name: "b" }, {}, signal);
  await put("c", "1");
  await plane.plane.restartApiserver(signal);
  cutOff = false;
  await expect.poll(() => differences(writer.client, reflector, "expired"), { timeout: 60_000 }).toEqual([]);
  expect(reflector.state.lists).toBe(2);
  expect([...told].sort()).toEqual(["added expired/c", "deleted expired/b", "updated expired/a"]);
});

test("sees every change of a busy collection, in order and none twice", async () => {
  const writer = plane.connect();
  const reader = plane.connect();
  await writer.client.create(NAMESPACES, { metadata: { name: "busy" } }, {}, signal);
  const reflector = reflect(reader.client, "busy");
  await reflector.synced(signal);
  const versions: number[] = [];
  reflector.store.onChange((c) => versions.push(Number((c.object ?? c.old)?.metadata.resourceVersion)));
  const write = async (name: string) => {
    for (let v = 0; v < 25; v++)
      await writer.client.apply(CONFIG_MAPS, { metadata: { namespace: "busy", name }, data: { v: `${v}` } }, {}, signal);
  };
  await Promise.all(["a", "b", "c", "d"].map(write));
  await expect.poll(() => versions.length, { timeout: 30_000 }).toBe(100);
  expect(versions).toEqual([...versions].sort((x, y) => x - y));
  expect(new Set(versions).size).toBe(100);
  expect(reader.calls).toHaveLength(2);
});
