import { expect, test, vi } from "vitest";
import { CallCancelled, CallError } from "./agent.ts";
import { type CallOutcome, PodCalls } from "./calls.ts";

const LOG = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const POD = { key: "default/p", namespace: "default", uid: "u" };

function calls(signal = new AbortController().signal, settleMs?: number) {
  const done: CallOutcome[] = [];
  return {
    done,
    calls: new PodCalls({
      log: LOG,
      signal,
      backoff: { baseMs: 1_000, maxMs: 4_000 },
      settleMs,
      onDone: (_pod, _name, o) => done.push(o),
    }),
  };
}

const base = { kind: "load", pod: POD, name: "x", fingerprint: "f", refusalFingerprint: "f", atOnce: 1 } as const;

test("one call for an adapter at a time, one load on an engine at a time", async () => {
  const { calls: c, done } = calls();
  const started: string[] = [];
  const gates = new Map<string, () => void>();
  const start = (name: string) =>
    c.start({
      ...base,
      name,
      run: () =>
        new Promise((resolve) => {
          started.push(name);
          gates.set(name, resolve);
        }),
    });
  start("x");
  start("x");
  start("y");
  expect(c.state("u", "y").running).toBe("load");
  await vi.waitFor(() => expect(started).toEqual(["x"]));
  gates.get("x")?.();
  await vi.waitFor(() => expect(started).toEqual(["x", "y"]));
  expect(c.state("u", "x")).toMatchObject({ running: undefined, done: { kind: "load", fingerprint: "f" } });
  gates.get("y")?.();
  await vi.waitFor(() => expect(done).toHaveLength(2));
});

test("what is cancelled while it waits has no outcome, and may be asked for again; what has begun goes on", async () => {
  const cancelledOf: string[] = [];
  const { done } = calls();
  const c = new PodCalls({
    log: LOG,
    signal: new AbortController().signal,
    onDone: (_pod, _name, o) => done.push(o),
    onCancelled: (_pod, name) => cancelledOf.push(name),
  });
  const waits = (_: AbortSignal, cancelled: AbortSignal) =>
    new Promise<void>((_resolve, reject) => cancelled.addEventListener("abort", () => reject(new CallCancelled())));
  c.start({ ...base, kind: "unload", atOnce: 4, drainUntilMs: 7, run: waits });
  expect(c.state("u", "x")).toMatchObject({ running: "unload", drainUntilMs: 7 });
  c.cancel("u", "x");
  await vi.waitFor(() => expect(cancelledOf).toEqual(["x"]));
  expect(c.state("u", "x")).toEqual({ running: undefined, done: undefined, accepted: {}, failure: undefined });
  const gate = Promise.withResolvers<void>();
  const run = vi.fn(() => gate.promise);
  c.start({ ...base, kind: "unload", atOnce: 4, run });
  await vi.waitFor(() => expect(run).toHaveBeenCalled());
  c.cancel("u", "x");
  c.cancel("u", "unknown");
  gate.resolve();
  await vi.waitFor(() => expect(done).toMatchObject([{ kind: "unload", ok: true }]));
  expect(cancelledOf).toEqual(["x"]);
});

test("failures back off, and count only for the same question", async () => {
  const { calls: c, done } = calls();
  const fail = (fingerprint: string, retryable: boolean) =>
    c.start({
      ...base,
      fingerprint,
      refusalFingerprint: fingerprint,
      run: () => Promise.reject(new CallError("EngineRefused", "no", { retryable })),
    });
  fail("f", true);
  await vi.waitFor(() => expect(done).toHaveLength(1));
  const first = c.state("u", "x").failure;
  expect(first).toMatchObject({ attempts: 1, retryable: true });
  expect((first?.retryAtMs ?? 0) - Date.now()).toBeGreaterThan(300);
  fail("f", true);
  await vi.waitFor(() => expect(c.state("u", "x").failure?.attempts).toBe(2));
  fail("g", false);
  await vi.waitFor(() => expect(c.state("u", "x").failure).toMatchObject({ attempts: 1, retryAtMs: undefined }));
  c.forgetPod("u");
  expect(c.state("u", "x").failure).toBeUndefined();
});

test("the end of the process is no failure of the pod", async () => {
  const stop = new AbortController();
  const { calls: c, done } = calls(stop.signal);
  c.start({ ...base, run: (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))) });
  stop.abort();
  await c.close();
  expect(done).toEqual([]);
  expect(c.state("u", "x").failure).toBeUndefined();
});

test("what is accepted again and again and never shown backs off, until it is shown", async () => {
  const { calls: c, done } = calls(undefined, 700);
  const waits: number[] = [];
  for (let n = 1; n <= 4; n++) {
    c.start({ ...base, run: () => Promise.resolve() });
    await vi.waitFor(() => expect(done).toHaveLength(n));
    const { accepted, done: last } = c.state("u", "x");
    waits.push((accepted.load?.againAtMs ?? 0) - (last?.atMs ?? 0));
  }
  expect(c.state("u", "x").accepted.load?.times).toBe(4);
  // Jitter takes up to half off, and it has its time to show at least.
  expect(waits[0]).toSatisfy((ms: number) => ms >= 700 && ms <= 1_000);
  expect(waits[3]).toBeGreaterThanOrEqual(2_000);
  c.start({ ...base, run: () => Promise.reject(new Error("no")) });
  await vi.waitFor(() => expect(c.state("u", "x").failure?.attempts).toBe(5));
  c.shown("u", "x", "load");
  expect(c.state("u", "x")).toMatchObject({ accepted: {}, failure: undefined });
  c.start({ ...base, run: () => Promise.resolve() });
  await vi.waitFor(() => expect(c.state("u", "x").accepted.load?.times).toBe(1));
});
