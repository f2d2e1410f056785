import { CONFIG_MAPS, Controller, LEASES, LeaseLostError, runAsLeader, Store, sleep } from "@aibrix/kube";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silent, TestPlane } from "./support/plane.ts";

const signal = AbortSignal.timeout(3_600_000);
let plane: TestPlane;

beforeAll(async () => {
  plane = await TestPlane.start();
}, 3_600_000);
afterAll(async () => {
  await plane?.[Symbol.asyncDispose]();
});

/** Who leads, as those who lead say it themselves. */
class Leaders {
  readonly now = new Set<string>();
  most = 0;

  async lead(identity: string, s: AbortSignal): Promise<void> {
    this.now.add(identity);
    this.most = Math.max(this.most, this.now.size);
    await sleep(1e8, s);
    this.now.delete(identity);
  }
}

function contend(
  leaders: Leaders,
  name: string,
  identity: string,
  stop: AbortSignal,
  times: { leaseMs: number; renewMs: number; retryMs: number },
) {
  const counted = plane.connect();
  const options = { client: counted.client, namespace: "default", name, identity, ...times, log: silent };
  return { ...counted, end: runAsLeader(options, (s) => leaders.lead(identity, s), stop) };
}

test("one of three leads; each clean end hands over at once, and never do two lead", async () => {
  const leaders = new Leaders();
  // Leases of a minute: only a lease that was given back can hand over within this test's patience.
  const times = { leaseMs: 60_000, renewMs: 40_000, retryMs: 100 };
  const stops = new Map(["a", "b", "c"].map((id) => [id, new AbortController()]));
  const all = [...stops].map(([id, stop]) => contend(leaders, "handover", id, stop.signal, times));
  for (let left = 3; left > 0; left--) {
    await expect.poll(() => leaders.now.size, { timeout: 20_000 }).toBe(1);
    for (const id of leaders.now) stops.get(id)?.abort();
    await expect.poll(async () => leaders.most).toBe(1);
  }
  await Promise.all(all.map((c) => c.end));
  const { client } = plane.connect();
  expect((await client.get(LEASES, { namespace: "default", name: "handover" }, signal)).spec).toMatchObject({
    holderIdentity: "",
    leaseTransitions: 2,
  });
});

test("a short absence of the API server costs nobody the lease; a long one ends the leader, and another follows", async () => {
  const leaders = new Leaders();
  const stop = new AbortController();
  const patient = contend(leaders, "absence", "patient", stop.signal, { leaseMs: 120_000, renewMs: 100_000, retryMs: 200 });
  await expect.poll(() => leaders.now.size, { timeout: 20_000 }).toBe(1);
  await plane.plane.restartApiserver(signal);
  const renewed = patient.count("update");
  await expect.poll(() => patient.count("update"), { timeout: 20_000 }).toBeGreaterThan(renewed);
  expect([...leaders.now]).toEqual(["patient"]);
  stop.abort();
  await patient.end;

  const times = { leaseMs: 3_000, renewMs: 1_500, retryMs: 200 };
  const last = new AbortController();
  const first = contend(leaders, "long-absence", "first", signal, times);
  await expect.poll(() => leaders.now.size, { timeout: 20_000 }).toBe(1);
  const second = contend(leaders, "long-absence", "second", last.signal, times);
  await plane.plane.killApiserver();
  await expect(first.end).rejects.toThrow(LeaseLostError);
  expect(leaders.now.size).toBe(0);
  await plane.plane.startApiserver(signal);
  await expect.poll(() => [...leaders.now], { timeout: 30_000 }).toEqual(["second"]);
  last.abort();
  await second.end;
  expect(leaders.most).toBe(1);
});

test("writers that meet a conflict on almost every write all get their work done, with bounded calls", async () => {
  const name = { namespace: "default", name: "contended" };
  const [writers, goal] = [6, 10];
  await plane.connect().client.create(CONFIG_MAPS, { metadata: name, data: {} }, {}, signal);
  const stop = new AbortController();
  const runs = Array.from({ length: writers }, (_, i) => {
    const counted = plane.connect();
    const done = Promise.withResolvers<void>();
    const controller = new Controller({
      name: `writer-${i}`,
      workers: 1,
      reflectors: [],
      log: silent,
      queue: { backoff: { baseMs: 5, maxMs: 200 } },
      reconcile: async (_key, s) => {
        const current = await counted.client.get(CONFIG_MAPS, name, s);
        const mine = Number(current.data?.[`w${i}`] ?? 0);
        if (mine >= goal) return void done.resolve();
        await counted.client.update(CONFIG_MAPS, { ...current, data: { ...current.data, [`w${i}`]: String(mine + 1) } }, {}, s);
        return { requeueAfterMs: 1 };
      },
    });
    controller.follow(new Store({ onHandlerError: () => undefined }));
    controller.queue.add("default/contended");
    return { ...counted, done: done.promise, end: controller.run(stop.signal) };
  });
  await Promise.all(runs.map((r) => r.done));
  stop.abort();
  await Promise.all(runs.map((r) => r.end));
  const { client } = plane.connect();
  const { data } = await client.get(CONFIG_MAPS, name, signal);
  expect(Object.values(data ?? {})).toEqual(Array.from({ length: writers }, () => String(goal)));
  const updates = runs.flatMap((r) => r.calls.filter((c) => c.verb === "update"));
  const conflicts = updates.filter((c) => c.status === 409).length;
  expect(conflicts).toBeGreaterThan(0);
  expect(updates.length).toBeLessThan(writers * goal * 10);
});
