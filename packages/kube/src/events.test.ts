import { afterEach, beforeEach, expect, test } from "vitest";
import { KubeClient } from "./client.ts";
import { EventRecorder, type EventRecorderOptions } from "./events.ts";
import { PODS } from "./resource.ts";
import { drop, FakeApiServer, fail, hang, memoryLog } from "./testing/fake-api-server.ts";
import type { KubeEvent, Pod } from "./types.ts";

const pod: Pod = { metadata: { name: "p", namespace: "ns", uid: "u1", resourceVersion: "7" }, spec: { containers: [] } };
const loaded = { type: "Normal", reason: "Loaded", action: "Load", note: "is loaded" } as const;
const signal = AbortSignal.timeout(60_000);
let server: FakeApiServer;
let client: KubeClient;

beforeEach(async () => {
  server = await FakeApiServer.start();
  client = new KubeClient({ config: server.config(), userAgent: "test", fieldManager: "test" });
});
afterEach(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
});

function recorder(options: Partial<EventRecorderOptions> = {}): EventRecorder {
  return new EventRecorder({ client, controller: "example.com/c", instance: "c-1", log: memoryLog(), gatherMs: 1e6, ...options });
}

const sent = () => server.seen.map((s) => ({ method: s.method, path: s.path, event: JSON.parse(s.body) as KubeEvent }));

test("tells an event about an object, in its namespace", async () => {
  const events = recorder();
  events.record(PODS, pod, loaded);
  await events.close(signal);
  expect(sent()).toHaveLength(1);
  expect(sent()[0]).toMatchObject({
    method: "POST",
    path: "/apis/events.k8s.io/v1/namespaces/ns/events",
    event: {
      ...loaded,
      reportingController: "example.com/c",
      reportingInstance: "c-1",
      regarding: { apiVersion: "v1", kind: "Pod", namespace: "ns", name: "p", uid: "u1" },
    },
  });
  expect(sent()[0]?.event.metadata.name).toMatch(/^p\.[0-9a-f]+$/);
});

test("counts repetitions on the first one instead of telling each", async () => {
  const events = recorder();
  events.record(PODS, pod, loaded);
  await expect.poll(() => server.seen.length).toBe(1);
  for (let i = 0; i < 99; i++) events.record(PODS, pod, loaded);
  events.record(PODS, pod, { ...loaded, note: "something else" });
  await events.close(signal);
  expect(sent().map((s) => [s.method, s.event.series?.count])).toEqual([
    ["POST", undefined],
    ["POST", undefined],
    ["PATCH", 100],
  ]);
});

test("bounds what is told about one object, and leaves others alone", async () => {
  const events = recorder({ perObject: { burst: 3, perSecond: 1e-9 } });
  for (let i = 0; i < 10; i++) events.record(PODS, pod, { ...loaded, note: `note ${i}` });
  events.record(PODS, { ...pod, metadata: { ...pod.metadata, name: "q", uid: "u2" } }, loaded);
  await events.close(signal);
  expect(sent().map((s) => s.event.note)).toEqual(["note 0", "note 1", "note 2", "is loaded"]);
  expect(events.dropped).toBe(7);
});

test("a thousand objects at once lose nothing, some are told at a time, and a storm of one takes no room from them", async () => {
  const dropped: unknown[] = [];
  let running = 0;
  let most = 0;
  const create = async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running -= 1;
  };
  const slow = { create } as unknown as KubeClient;
  const events = recorder({ client: slow, perObject: { burst: 1e9, perSecond: 1 }, onDropped: () => dropped.push(1) });
  for (let i = 0; i < 5_000; i++) events.record(PODS, pod, { ...loaded, note: `note ${i}` });
  const storm = events.dropped;
  for (let i = 0; i < 1_000; i++) {
    const other = { ...pod, metadata: { ...pod.metadata, name: `p${i}`, uid: `u-${i}` } };
    for (const reason of ["Scheduled", "Loaded", "Repaired"]) events.record(PODS, other, { ...loaded, reason });
  }
  await events.close(signal);
  expect(storm).toBeGreaterThanOrEqual(4_890);
  expect([events.dropped, dropped.length]).toEqual([storm, storm]);
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(6);
});

test("what is repeated while it is being told is counted on it afterwards, and not told twice", async () => {
  const told: string[] = [];
  const answer = Promise.withResolvers<void>();
  const create = async () => {
    told.push("begins");
    await answer.promise;
    told.push("told");
  };
  const mergePatch = async () => void told.push("counted");
  const events = recorder({ client: { create, mergePatch } as unknown as KubeClient, gatherMs: 0 });
  events.record(PODS, pod, loaded);
  events.record(PODS, pod, loaded);
  await new Promise((resolve) => setTimeout(resolve, 20));
  // Another sender is free, and has nothing that it may send.
  events.record(PODS, pod, loaded);
  answer.resolve();
  await events.close(signal);
  expect(told).toEqual(["begins", "told", "counted"]);
});

test("cuts a note at 1,024 bytes, in whole characters", async () => {
  const events = recorder();
  events.record(PODS, pod, { ...loaded, note: "ü😀".repeat(500) });
  await events.close(signal);
  const note = sent()[0]?.event.note ?? "";
  expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
  expect(Buffer.byteLength(note)).toBeGreaterThan(1000);
  expect(note).toMatch(/^(ü😀)+ü?…$/u);
});

test.each([
  { name: "a namespace that goes", fault: fail(403, "Forbidden") },
  { name: "an event that the server refuses", fault: fail(422, "Invalid") },
])("$name costs one call and no error", async ({ fault }) => {
  server.faults.push(fault);
  const events = recorder();
  events.record(PODS, pod, loaded);
  await events.close(signal);
  expect(server.seen).toHaveLength(1);
});

test("tries again where the connection broke", async () => {
  server.failNext("other", drop);
  const events = recorder();
  events.record(PODS, pod, loaded);
  await expect.poll(() => server.seen.length, { timeout: 5_000 }).toBe(2);
  await events.close(signal);
});

test("holds no more than its bounds while the server hangs, and an end is not held up", async () => {
  server.faults.push(hang);
  const events = recorder({ perObject: { burst: 1e9, perSecond: 1 } });
  for (let i = 0; i < 5_000; i++) events.record(PODS, pod, { ...loaded, note: `note ${i}` });
  expect(events.dropped).toBeGreaterThanOrEqual(3_990);
  await events.close(AbortSignal.abort(new Error("no time")));
  events.record(PODS, pod, loaded);
});

test("an event that the server forgot is told anew", async () => {
  const events = recorder({ gatherMs: 1 });
  events.record(PODS, pod, loaded);
  await expect.poll(() => server.seen.length).toBe(1);
  server.failNext("other", fail(404, "NotFound"));
  events.record(PODS, pod, loaded);
  await expect.poll(() => server.seen.length).toBe(2);
  await expect
    .poll(() => {
      events.record(PODS, pod, loaded);
      return sent().at(-1)?.method;
    })
    .toBe("POST");
  await events.close(signal);
});
