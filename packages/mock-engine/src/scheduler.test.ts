import { describe, expect, test } from "vitest";
import { type Lane, Scheduler } from "./scheduler.ts";

const signal = new AbortController().signal;
const a: Lane = { id: 1, name: "a" };
const b: Lane = { id: 2, name: "b" };
const c: Lane = { id: 3, name: "c" };
const newA: Lane = { id: 4, name: "a" };

/** Starts requests in this order; a name appears in `started` once its request runs. */
function start(scheduler: Scheduler, lanes: readonly (Lane | undefined)[]): string[] {
  const started: string[] = [];
  for (const lane of lanes) {
    const wait = scheduler.acquire(lane, signal);
    const name = lane === undefined ? "base" : `${lane.name}${lane.id}`;
    if (wait === undefined) started.push(name);
    else void wait.then(() => started.push(name));
  }
  return started;
}

describe("Scheduler", () => {
  test.each([
    { name: "as many adapters as slots", maxSeqs: 8, lanes: [a, b], want: ["a1", "b2"], deferred: 0 },
    { name: "an adapter too many waits", maxSeqs: 8, lanes: [a, b, c], want: ["a1", "b2"], deferred: 1 },
    {
      name: "whoever fits passes one that waits",
      maxSeqs: 8,
      lanes: [a, b, c, a, undefined],
      want: ["a1", "b2", "a1", "base"],
      deferred: 1,
    },
    { name: "two contents of one name need two slots", maxSeqs: 8, lanes: [a, newA, b], want: ["a1", "a4"], deferred: 1 },
    { name: "no more requests than places", maxSeqs: 2, lanes: [undefined, undefined, undefined], want: ["base", "base"], deferred: 0 },
  ])("$name", ({ maxSeqs, lanes, want, deferred }) => {
    const scheduler = new Scheduler({ maxSeqs, maxLoras: 2 });
    expect(start(scheduler, lanes)).toEqual(want);
    expect({ running: scheduler.running, waiting: scheduler.waiting, deferred: scheduler.deferred }).toEqual({
      running: want.length,
      waiting: lanes.length - want.length,
      deferred,
    });
  });

  test("a slot that becomes free goes to whoever waits longest and fits", async () => {
    const scheduler = new Scheduler({ maxSeqs: 8, maxLoras: 2 });
    const started = start(scheduler, [a, a, b, c]);
    scheduler.release(a);
    await Promise.resolve();
    expect(started).toEqual(["a1", "a1", "b2"]);
    scheduler.release(a);
    await Promise.resolve();
    expect(started).toEqual(["a1", "a1", "b2", "c3"]);
  });

  test("who gives up does not wait any more", async () => {
    const scheduler = new Scheduler({ maxSeqs: 1, maxLoras: 1 });
    start(scheduler, [undefined]);
    const controller = new AbortController();
    const wait = scheduler.acquire(undefined, controller.signal);
    controller.abort(new Error("gone"));
    await expect(wait).rejects.toThrow("gone");
    expect(scheduler.waiting).toBe(0);
  });

  test("of two contents of one name the first leads until it is done", () => {
    const scheduler = new Scheduler({ maxSeqs: 8, maxLoras: 2 });
    start(scheduler, [a, newA]);
    expect([scheduler.leads(a.id), scheduler.leads(newA.id)]).toEqual([true, false]);
    scheduler.release(a);
    expect([scheduler.leads(a.id), scheduler.leads(newA.id)]).toEqual([false, true]);
  });

  test("tells who runs when that changes, and only then", () => {
    const told: string[] = [];
    const scheduler = new Scheduler({ maxSeqs: 8, maxLoras: 2, onLanes: (names) => told.push(names.join(",")) });
    start(scheduler, [a, a, undefined, b]);
    scheduler.release(a);
    scheduler.release(a);
    scheduler.release(b);
    expect(told).toEqual(["a", "a,b", "b", ""]);
  });
});
