import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TerminalError } from "./errors.ts";
import { StopNow } from "./time.ts";
import { type Result, type Urgency, Workqueue } from "./workqueue.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Gate {
  readonly key: string;
  readonly signal: AbortSignal;
  readonly end: (result?: Result) => void;
  readonly fail: (error: unknown) => void;
}

/** A queue whose work waits until the test ends it. */
function gated(workers: number, options: ConstructorParameters<typeof Workqueue>[0] = {}) {
  const queue = new Workqueue({ random: () => 0, ...options });
  const stop = new AbortController();
  const gates: Gate[] = [];
  const started: string[] = [];
  const work = (key: string, signal: AbortSignal) =>
    new Promise<Result | undefined>((resolve, reject) => {
      started.push(key);
      gates.push({ key, signal, end: resolve, fail: reject });
    });
  const run = queue.run(workers, work, stop.signal);
  const settle = () => vi.advanceTimersByTimeAsync(0);
  const next = async (): Promise<Gate> => {
    await settle();
    return gates.shift() ?? expect.fail("nothing runs");
  };
  return { queue, stop, run, started, gates, next, settle };
}

test("a key that waits is not added twice, and each worker takes another key", async () => {
  const { queue, started, settle } = gated(2);
  for (const key of ["a", "a", "b", "c", "a"]) queue.add(key);
  await settle();
  expect(started).toEqual(["a", "b"]);
  expect([queue.depth, queue.running]).toEqual([1, 2]);
});

test("a key that changes while it is worked on is worked on once more, after it", async () => {
  const { queue, started, next, settle } = gated(2);
  queue.add("a");
  const first = await next();
  queue.add("a");
  queue.add("a");
  await settle();
  expect(started).toEqual(["a"]);
  first.end();
  (await next()).end();
  await settle();
  expect(started).toEqual(["a", "a"]);
});

test("a failing key backs off and delays no other; success forgets", async () => {
  const { queue, started, next } = gated(1, { backoff: { baseMs: 100, maxMs: 400 } });
  queue.add("bad");
  for (const delayMs of [100, 200, 400, 400]) {
    (await next()).fail(new Error("no"));
    queue.add("good");
    (await next()).end();
    const before = started.length;
    await vi.advanceTimersByTimeAsync(delayMs - 1);
    expect(started).toHaveLength(before);
    await vi.advanceTimersByTimeAsync(1);
    expect(started.at(-1)).toBe("bad");
  }
  (await next()).end();
  queue.add("bad");
  (await next()).fail(new Error("again"));
  await vi.advanceTimersByTimeAsync(100);
  expect(started.at(-1)).toBe("bad");
});

test("a longer Retry-After holds against the backoff", async () => {
  const { queue, started, next } = gated(1, { backoff: { baseMs: 10, maxMs: 10 } });
  queue.add("a");
  (await next()).fail(Object.assign(new Error("busy"), { retryAfterMs: 5_000 }));
  await vi.advanceTimersByTimeAsync(4_999);
  expect(started).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(started).toHaveLength(2);
});

test("a terminal error is not tried again until somebody adds the key", async () => {
  const { queue, started, next } = gated(1);
  queue.add("a");
  (await next()).fail(new TerminalError("bad spec"));
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(started).toHaveLength(1);
  queue.add("a");
  await next();
});

test("requeueAfter brings a key back once, and an earlier run takes its place", async () => {
  const { queue, started, next } = gated(1);
  queue.add("a");
  (await next()).end({ requeueAfterMs: 1_000 });
  await vi.advanceTimersByTimeAsync(500);
  queue.add("a");
  (await next()).end({ requeueAfterMs: 1_000 });
  await vi.advanceTimersByTimeAsync(999);
  expect(started).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(started).toHaveLength(3);
});

test("addAfter keeps the earlier of two times, also over a run in between", async () => {
  const { queue, started, next } = gated(1);
  queue.addAfter("a", 2_000);
  queue.addAfter("a", 1_000);
  queue.addAfter("a", 3_000);
  expect(queue.delayed).toBe(1);
  queue.add("a");
  (await next()).end();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(started).toHaveLength(2);
  (await next()).end();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(started).toHaveLength(2);
});

test("an end waits for what runs, hands out no more, and loses patience after its time", async () => {
  const { queue, stop, run, started, next } = gated(1, { drainMs: 1_000 });
  queue.add("a");
  queue.add("b");
  queue.addAfter("c", 10);
  const a = await next();
  stop.abort();
  await vi.advanceTimersByTimeAsync(999);
  expect(a.signal.aborted).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(a.signal.aborted).toBe(true);
  a.fail(a.signal.reason);
  await run;
  queue.add("d");
  expect(started).toEqual(["a"]);
  expect([queue.depth, queue.running, queue.delayed]).toEqual([0, 0, 0]);
});

test("a lost lease leaves no time", async () => {
  const { queue, stop, run, next } = gated(1);
  queue.add("a");
  const a = await next();
  stop.abort(new StopNow("lost"));
  expect(a.signal.reason).toBeInstanceOf(StopNow);
  a.end();
  await run;
});

test("work that takes too long sees its signal abort, alone", async () => {
  const { queue, next } = gated(2, { workMs: 1_000 });
  queue.add("slow");
  await vi.advanceTimersByTimeAsync(500);
  queue.add("b");
  const slow = await next();
  const b = await next();
  await vi.advanceTimersByTimeAsync(500);
  expect([slow.signal.aborted, b.signal.aborted]).toEqual([true, false]);
});

test("tells how long a key waited, how long the work took, and how it ended", async () => {
  const told: unknown[] = [];
  const { queue, next, settle } = gated(1, {
    onDone: (key, { outcome, waitedMs, durationMs }) => told.push([key, outcome, waitedMs, durationMs]),
  });
  queue.add("first");
  queue.add("second");
  const first = await next();
  await vi.advanceTimersByTimeAsync(300);
  first.end();
  const second = await next();
  await vi.advanceTimersByTimeAsync(200);
  second.end();
  await settle();
  expect(told.splice(0)).toEqual([
    ["first", "success", 0, 300],
    ["second", "success", 300, 200],
  ]);
  const boom = new Error("x");
  for (const [key, act] of [
    ["a", (g: Gate) => g.end()],
    ["b", (g: Gate) => g.end({ requeueAfterMs: 1 })],
    ["c", (g: Gate) => g.fail(boom)],
    ["d", (g: Gate) => g.fail(new TerminalError("y"))],
  ] as const) {
    queue.add(key);
    act(await next());
    await settle();
    queue.forget(key);
  }
  expect(told.map((t) => (t as unknown[]).slice(0, 2)).slice(0, 2)).toEqual([
    ["a", "success"],
    ["b", "requeue"],
  ]);
  expect(told).toEqual(expect.arrayContaining([expect.arrayContaining(["c", "retry"]), expect.arrayContaining(["d", "terminal"])]));
});

test("tells for how long no work has ended, while there is some", async () => {
  const { queue, next, settle } = gated(1);
  expect(queue.stuckMs).toBe(0);
  await vi.advanceTimersByTimeAsync(1_000);
  queue.add("a");
  queue.add("b");
  const a = await next();
  await vi.advanceTimersByTimeAsync(300);
  expect(queue.stuckMs).toBe(300);
  a.end();
  const b = await next();
  await vi.advanceTimersByTimeAsync(200);
  expect(queue.stuckMs).toBe(200);
  b.end();
  await settle();
  expect(queue.stuckMs).toBe(0);
});

test("what is urgent goes first, what can wait comes all the same, and becomes urgent where it is asked for", async () => {
  const { queue, started, next, settle } = gated(1);
  queue.add("first");
  await settle();
  for (let i = 0; i < 10; i++) queue.add(`patient-${i}`, "canWait");
  for (let i = 0; i < 10; i++) queue.add(`urgent-${i}`);
  queue.add("patient-9");
  queue.add("urgent-0", "canWait");
  expect(queue.depth).toBe(20);
  for (let i = 0; i < 21; i++) (await next()).end();
  expect(started.slice(0, 10)).toEqual(["first", ...[0, 1, 2, 3, 4, 5, 6].map((i) => `urgent-${i}`), "patient-0", "urgent-7"]);
  expect(started.indexOf("patient-9")).toBeLessThan(started.indexOf("patient-1"));
  expect(started.slice(-8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => `patient-${i}`));
});

type Command =
  | {
      readonly kind: "add" | "addAfter";
      readonly key: string;
      readonly ms: number;
      readonly urgency: Urgency;
    }
  | { readonly kind: "finish"; readonly at: number; readonly how: "ok" | "requeue" | "fail" | "terminal" }
  | { readonly kind: "wait"; readonly ms: number };

const KEY = fc.constantFrom("a", "b", "c", "d");
const MS = fc.integer({ min: 0, max: 300 });
const COMMAND: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("add" as const, "addAfter" as const),
    key: KEY,
    ms: MS,
    urgency: fc.constantFrom("urgent" as const, "canWait" as const),
  }),
  fc.record({
    kind: fc.constant("finish" as const),
    at: fc.nat(9),
    how: fc.constantFrom("ok" as const, "requeue" as const, "fail" as const, "terminal" as const),
  }),
  fc.record({ kind: fc.constant("wait" as const), ms: MS }),
);

test("property: never two at once for one key, never more than the workers, and nothing that was added is lost", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(COMMAND, { maxLength: 60 }), async (workers, commands) => {
      const { queue, stop, run, gates, started, settle } = gated(workers, { backoff: { baseMs: 10, maxMs: 100 } });
      let order = 0;
      /** When each key was last asked for, and when work on it last began; in the order of events. */
      const asked = new Map<string, number>();
      const began = new Map<string, number>();
      let seen = 0;
      const look = async () => {
        await settle();
        for (; seen < started.length; seen++) began.set(started[seen] ?? "", ++order);
        const keys = gates.map((g) => g.key);
        expect(new Set(keys).size).toBe(keys.length);
        expect(keys.length).toBeLessThanOrEqual(workers);
      };
      for (const c of commands) {
        if (c.kind === "wait") {
          await vi.advanceTimersByTimeAsync(c.ms);
        } else if (c.kind === "finish") {
          const [gate] = gates.splice(c.at % Math.max(1, gates.length), 1);
          if (c.how === "fail") gate?.fail(new Error("x"));
          else if (c.how === "terminal") gate?.fail(new TerminalError("x"));
          else gate?.end(c.how === "requeue" ? { requeueAfterMs: 50 } : undefined);
          if (gate !== undefined && (c.how === "fail" || c.how === "requeue")) asked.set(gate.key, ++order);
        } else {
          asked.set(c.key, ++order);
          if (c.kind === "add") queue.add(c.key, c.urgency);
          else queue.addAfter(c.key, c.ms, c.urgency);
        }
        await look();
      }
      for (let i = 0; i < 100 && (gates.length > 0 || queue.depth + queue.delayed > 0); i++) {
        for (const gate of gates.splice(0)) gate.end();
        await vi.advanceTimersByTimeAsync(400);
        await look();
      }
      for (const [key, at] of asked) expect(began.get(key) ?? 0).toBeGreaterThan(at);
      expect([queue.depth, queue.running, queue.delayed]).toEqual([0, 0, 0]);
      stop.abort();
      await run;
    }),
    { numRuns: 300 },
  );
});
