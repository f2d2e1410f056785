import { afterEach, beforeEach, expect, test } from "vitest";
import { KubeClient } from "./client.ts";
import { LeaseLostError, runAsLeader } from "./leader.ts";
import { drop, FakeApiServer, type Fault, fail, memoryLog } from "./testing/fake-api-server.ts";
import { sleep } from "./time.ts";
import type { Lease } from "./types.ts";

/** The API server's answers for one Lease, with its optimistic locking. */
class FakeLease {
  lease: Lease | undefined;
  version = 1;
  writes = 0;
  /** Somebody else touches the lease just before so many of the next writes. */
  conflicts = 0;
  down = false;

  readonly fault: Fault = (seen, answer) => {
    if (this.down) return drop(seen, answer);
    if (seen.method === "GET") {
      if (this.lease === undefined) return fail(404, "NotFound")(seen, answer);
      return void answer.end(JSON.stringify(this.lease)) === undefined;
    }
    const sent = JSON.parse(seen.body) as Lease;
    if (seen.method === "POST" && this.lease !== undefined) return fail(409, "AlreadyExists")(seen, answer);
    if (this.conflicts > 0 && this.lease !== undefined) {
      this.conflicts--;
      this.lease = { ...this.lease, metadata: { ...this.lease.metadata, resourceVersion: String(++this.version) } };
    }
    if (seen.method === "PUT" && sent.metadata.resourceVersion !== this.lease?.metadata.resourceVersion)
      return fail(409, "Conflict")(seen, answer);
    this.writes++;
    this.lease = { ...sent, metadata: { ...sent.metadata, resourceVersion: String(++this.version) } };
    return void answer.end(JSON.stringify(this.lease)) === undefined;
  };

  get holder(): string | undefined {
    return this.lease?.spec?.holderIdentity;
  }
}

const TIMES = { leaseMs: 1_000, renewMs: 400, retryMs: 20 };
let server: FakeApiServer;
let state: FakeLease;
let client: KubeClient;
let stop: AbortController;

beforeEach(async () => {
  server = await FakeApiServer.start();
  state = new FakeLease();
  server.faults.push(state.fault);
  client = new KubeClient({ config: server.config(), userAgent: "test", fieldManager: "test" });
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await client.close();
  await server[Symbol.asyncDispose]();
});

/** Leads until it is told to end; keeps what happened. */
function contender(identity: string, signal = stop.signal) {
  const log: string[] = [];
  const renewed: number[] = [];
  const onRenewed = () => void renewed.push(performance.now());
  const options = { client, namespace: "ns", name: "lease", identity, ...TIMES, log: memoryLog(), onRenewed };
  const lead = async (s: AbortSignal) => {
    log.push("leads");
    await sleep(1e8, s);
    log.push("ends");
    state.down = false;
    return "done";
  };
  return { log, renewed, end: runAsLeader(options, lead, signal) };
}

test("one leads, the other waits; a clean end gives the lease back and the other leads", async () => {
  const first = new AbortController();
  const a = contender("a", first.signal);
  await expect.poll(() => a.log).toEqual(["leads"]);
  const b = contender("b");
  await expect.poll(() => server.seen.length).toBeGreaterThan(8);
  expect(b.log).toEqual([]);
  expect(b.renewed).toEqual([]);
  await expect.poll(() => a.renewed.length).toBeGreaterThan(2);
  first.abort();
  expect(await a.end).toBe("done");
  await expect.poll(() => b.log).toEqual(["leads"]);
  expect(state.lease?.spec).toMatchObject({ holderIdentity: "b", leaseTransitions: 1 });
  stop.abort();
  await b.end;
  expect(state.holder).toBe("");
});

test("a leader that died is followed after its lease", async () => {
  const renewTime = "2020-01-01T00:00:00.000000Z";
  state.lease = {
    metadata: { name: "lease", namespace: "ns", resourceVersion: "1" },
    spec: { holderIdentity: "dead", leaseDurationSeconds: 1, renewTime },
  };
  const a = contender("a");
  await expect.poll(() => a.log, { timeout: 5_000 }).toEqual(["leads"]);
});

test("a server that is away for shorter than the leader's patience does no harm", async () => {
  const a = contender("a");
  await expect.poll(() => a.log).toEqual(["leads"]);
  state.down = true;
  await expect.poll(() => server.seen.length).toBeGreaterThan(3);
  state.down = false;
  const before = state.writes;
  await expect.poll(() => state.writes).toBeGreaterThan(before + 2);
  expect(a.log).toEqual(["leads"]);
});

test("a server that is away for longer ends the leader's work at once, before the lease is over", async () => {
  const a = contender("a");
  await expect.poll(() => a.log).toEqual(["leads"]);
  state.down = true;
  await expect(a.end).rejects.toThrow(LeaseLostError);
  expect(a.log).toEqual(["leads", "ends"]);
  expect(state.holder).toBe("a"); // Not given back: it may be another's by now.
});

test("a lease that another process took ends the leader's work", async () => {
  const a = contender("a");
  await expect.poll(() => a.log).toEqual(["leads"]);
  state.lease = {
    metadata: { name: "lease", namespace: "ns", resourceVersion: "999" },
    spec: { holderIdentity: "thief", leaseDurationSeconds: 15 },
  };
  await expect(a.end).rejects.toThrow("thief holds it");
  expect(state.holder).toBe("thief");
});

test("conflicts on every write are borne, within bounds", async () => {
  state.lease = { metadata: { name: "lease", namespace: "ns", resourceVersion: "1" }, spec: {} };
  state.conflicts = 4;
  const a = contender("a");
  await expect.poll(() => a.log).toEqual(["leads"]);
  state.conflicts = 12;
  await expect.poll(() => state.conflicts).toBe(0);
  const before = state.writes;
  await expect.poll(() => state.writes).toBeGreaterThan(before + 1);
  expect(a.log).toEqual(["leads"]);
});

test("an end before it led is no error, and an error of the work is the caller's", async () => {
  const a = contender("a");
  await expect.poll(() => a.log).toEqual(["leads"]);
  const early = new AbortController();
  const b = contender("b", early.signal);
  early.abort();
  expect(await b.end).toBeUndefined();
  stop.abort();
  await a.end;
  const options = { client, namespace: "ns", name: "lease", identity: "c", ...TIMES, log: memoryLog() };
  const lead = () => Promise.reject(new Error("broken work"));
  await expect(runAsLeader(options, lead, new AbortController().signal)).rejects.toThrow("broken work");
  expect(state.holder).toBe("");
});

test("a patience as long as the lease is refused", async () => {
  const options = { client, namespace: "ns", name: "lease", identity: "a", leaseMs: 10, renewMs: 10, log: memoryLog() };
  await expect(runAsLeader(options, async () => undefined, stop.signal)).rejects.toThrow("renewMs must be less");
});
