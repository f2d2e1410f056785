import { expect, test } from "vitest";
import { drips, Places } from "./places.ts";

/** Work that ends when it is told to. */
function work() {
  const { promise, resolve } = Promise.withResolvers<string>();
  const begun = Promise.withResolvers<() => void>();
  const run = (leave: () => void) => {
    begun.resolve(leave);
    return promise;
  };
  return { run, begun: begun.promise, end: resolve };
}
const settled = async (promise: Promise<unknown>) =>
  await Promise.race([promise.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))]);

test("what gives up its place lets the next one in, and still ends well", async () => {
  const places = new Places(1, 1);
  const [slow, next] = [work(), work()];
  const ended = places.run(slow.run);
  const after = places.run(next.run);
  const leave = await slow.begun;
  expect(await settled(next.begun)).toBe(false);
  leave();
  leave();
  await next.begun;
  slow.end("slow");
  next.end("next");
  expect([await ended, await after]).toEqual(["slow", "next"]);
});

test("only so many go on beside the places, and one that ends makes room for another", async () => {
  const places = new Places(1, 1);
  const [first, second, third] = [work(), work(), work()];
  const all = [first, second, third].map((w) => places.run(w.run));
  (await first.begun)();
  const leave = await second.begun;
  leave();
  expect(await settled(third.begun)).toBe(false);
  first.end("first");
  await all[0];
  await new Promise((resolve) => setImmediate(resolve));
  leave();
  await third.begun;
  second.end("second");
  third.end("third");
  expect(await Promise.all(all)).toEqual(["first", "second", "third"]);
});

test("what fails frees its place", async () => {
  const places = new Places(1, 1);
  await expect(places.run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  await expect(
    places.run(() => {
      throw new Error("at once");
    }),
  ).rejects.toThrow("at once");
  expect(await places.run(async () => "yes")).toBe("yes");
});

test.each([
  { name: "one that has just begun", sinceMs: 1_000, bytesPerSecond: 1, want: false },
  { name: "one that gives nothing", sinceMs: 5_000, bytesPerSecond: undefined, want: true },
  { name: "a slow one", sinceMs: 60_000, bytesPerSecond: 100, want: true },
  { name: "one at a fair rate", sinceMs: 60_000, bytesPerSecond: 2 ** 20, want: false },
])("$name: $want", ({ sinceMs, bytesPerSecond, want }) => {
  expect(drips(bytesPerSecond === undefined ? undefined : { bytesPerSecond }, sinceMs)).toBe(want);
});
