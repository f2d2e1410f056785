import { expect, test } from "vitest";
import { Controller } from "./controller.ts";
import { KubeError, TerminalError } from "./errors.ts";
import { Store } from "./store.ts";
import { memoryLog } from "./testing/fake-api-server.ts";
import type { Pod } from "./types.ts";

const pod = (name: string, version = "1"): Pod => ({
  metadata: { namespace: "ns", name, uid: name, resourceVersion: version },
  spec: { containers: [] },
});

function parts(reconcile: (key: string) => Promise<undefined>) {
  const store = new Store<Pod>({ onHandlerError: () => undefined });
  const synced = Promise.withResolvers<void>();
  const log = memoryLog();
  const outcomes: string[] = [];
  const stop = new AbortController();
  const controller = new Controller({
    name: "test",
    workers: 2,
    reconcile,
    reflectors: [{ synced: () => synced.promise }],
    log,
    onReconcile: ({ outcome }) => outcomes.push(outcome),
    queue: { backoff: { baseMs: 1, maxMs: 1 } },
  });
  controller.follow(store);
  return { store, synced, log, outcomes, stop, controller };
}

test("reconciles nothing before the caches are filled, then every object once, then what changes", async () => {
  const seen: string[] = [];
  const { store, synced, stop, controller } = parts(async (key) => void seen.push(key) as undefined);
  store.set(pod("a"));
  store.set(pod("b"));
  const run = controller.run(stop.signal);
  await new Promise((resolve) => setImmediate(resolve));
  expect(seen).toEqual([]);
  synced.resolve();
  await expect.poll(() => seen).toEqual(["ns/a", "ns/b"]);
  store.set(pod("a", "2"));
  store.delete("ns/b");
  await expect.poll(() => seen).toEqual(["ns/a", "ns/b", "ns/a", "ns/b"]);
  stop.abort();
  await run;
});

test("conflicts and absence are daily life, final errors are told", async () => {
  const errors = new Map<string, Error[]>([
    ["ns/conflict", [new KubeError("c", { status: 409, reason: "Conflict" })]],
    ["ns/bug", [new Error("bug")]],
    ["ns/final", [new TerminalError("final")]],
  ]);
  const { store, synced, log, outcomes, stop, controller } = parts(async (key) => {
    const error = errors.get(key)?.shift();
    if (error !== undefined) throw error;
    return undefined;
  });
  for (const name of ["conflict", "bug", "final"]) store.set(pod(name));
  synced.resolve();
  const run = controller.run(stop.signal);
  await expect.poll(() => [...outcomes].sort()).toEqual(["retry", "retry", "success", "success", "terminal"]);
  const levels = log.lines.filter((l) => l.includes('"key"')).map((l) => l.split(" ")[0]);
  expect([...levels].sort()).toEqual(["debug", "error", "warn"]);
  stop.abort();
  await run;
});
