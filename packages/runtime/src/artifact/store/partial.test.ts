import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NEVER, testStore } from "../../../test/fakes.ts";
import { layoutOf } from "./layout.ts";
import { Locks } from "./lock.ts";
import { PARTIAL_KEPT_MS, PartialFolders } from "./partial.ts";

let dir: string;
let nowMs: number;
const KEY = "1".repeat(64);
const ONE = { key: KEY, artifactUrl: "hf://a/one" };

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "partial-"));
  await testStore(dir).open();
  nowMs = 0;
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** Half downloads as a process of a pod sees them. */
function of(pod: string, instance = pod): PartialFolders {
  const layout = layoutOf(dir, pod);
  return new PartialFolders(layout, new Locks(layout, { instance, staleMs: 1_000, clock: () => nowMs }));
}
const cached = async (folder: string) => await readdir(join(dir, ".cache", folder));

test("what was released is there for the next try, of this process or another pod", async () => {
  const first = await of("a").take(ONE, NEVER);
  await writeFile(join(first.files, "w"), "half");
  await first.release();
  await of("a").sweep(Date.now());
  const second = await of("b").take(ONE, NEVER);
  expect(await readFile(join(second.files, "w"), "utf8")).toBe("half");
  await second.discard();
  expect([...(await cached("partial")), ...(await cached("work")), ...(await cached("locks"))]).toEqual([]);
});

test("one holder at a time; who waits can give up", async () => {
  const partials = of("a");
  const first = await partials.take(ONE, NEVER);
  const order: string[] = [];
  const second = partials.take(ONE, NEVER).then((folder) => {
    order.push("second");
    return folder;
  });
  const abort = new AbortController();
  const [third, other] = [partials.take(ONE, abort.signal), of("b").take(ONE, abort.signal)];
  abort.abort(new Error("enough"));
  await expect(third).rejects.toThrow("enough");
  await expect(other).rejects.toThrow("enough");
  order.push("released");
  await first.release();
  await (await second).release();
  expect(order).toEqual(["released", "second"]);
});

test("what a killed process of this pod had is gone on with at once, in the same files", async () => {
  const killed = await of("a", "former").take(ONE, NEVER);
  await writeFile(join(killed.files, "w"), "half");
  const next = await of("a", "now").take(ONE, NEVER);
  expect(await readFile(join(next.files, "w"), "utf8")).toBe("half");
  await next.discard();
  await killed.discard();
});

test("who takes over another pod's goes on in copies, for that one may only stand still", async () => {
  const still = await of("a").take(ONE, NEVER);
  const file = await open(join(still.files, "w"), "w");
  await file.write("half");
  await mkdir(join(still.files, "deep/er"), { recursive: true });
  await writeFile(join(still.files, "deep/er/w"), "deep");
  const taking = of("b").take(ONE, NEVER);
  const timer = setInterval(() => (nowMs += 100), 5);
  // Its lock changes every second by the real clock; nobody waits for that here.
  const taken = await taking;
  clearInterval(timer);
  expect(await readFile(join(taken.files, "w"), "utf8")).toBe("half");
  expect(await readFile(join(taken.files, "deep/er/w"), "utf8")).toBe("deep");
  await file.write("damage", 0);
  await file.close();
  expect(await readFile(join(taken.files, "w"), "utf8")).toBe("half");
  await expect(writeFile(join(still.files, "other"), "x")).rejects.toThrow("ENOENT");
  await taken.discard();
  await still.release();
  expect([...(await cached("partial")), ...(await cached("work")), ...(await cached("locks"))]).toEqual([]);
});

test("the sweep keeps for the next try what a killed process had, and leaves what somebody works on", async () => {
  await of("a", "former").take(ONE, NEVER);
  const other = await of("b").take({ key: "2".repeat(64), artifactUrl: "hf://a/two" }, NEVER);
  await of("a", "now").sweep(Date.now());
  expect(await cached("partial")).toEqual([KEY]);
  expect(await cached("work")).toEqual([expect.stringMatching(/^2{64}\./)]);
  await other.release();
});

test("what a pod that is gone had is kept for the next try once its lock was silent between two sweeps, and goes on in copies", async () => {
  const still = await of("a").take(ONE, NEVER);
  const file = await open(join(still.files, "w"), "w");
  await file.write("half");
  const b = of("b");
  await b.sweep(Date.now());
  expect(await cached("work")).toHaveLength(1);
  nowMs += 1_000;
  await b.sweep(Date.now());
  expect([await cached("partial"), await cached("work"), await cached("locks")]).toEqual([[KEY], [], []]);
  const next = await of("c").take(ONE, NEVER);
  await file.write("damage", 0);
  await file.close();
  expect(await readFile(join(next.files, "w"), "utf8")).toBe("half");
  await next.discard();
  await still.discard();
  expect(await cached("work")).toEqual([]);
});

test("what was given back by another pod is gone on with in the same files", async () => {
  const first = await of("a").take(ONE, NEVER);
  await writeFile(join(first.files, "w"), "half");
  const { ino } = await stat(join(first.files, "w"));
  await first.release();
  const second = await of("b").take(ONE, NEVER);
  expect((await stat(join(second.files, "w"))).ino).toBe(ino);
  await second.discard();
});

test("the sweep removes what is old, what was superseded, what nobody can name and what has an impossible time, and nothing foreign", async () => {
  const now = Date.now();
  const make = async (digit: string, artifactUrl: string, ageMs: number) => {
    await (await of("a").take({ key: digit.repeat(64), artifactUrl }, NEVER)).release();
    const at = new Date(now - ageMs);
    await utimes(join(dir, ".cache/partial", digit.repeat(64)), at, at);
  };
  await make("a", "hf://a/b", 0);
  await make("b", "hf://a/b", 1_000);
  await make("c", "hf://a/c", PARTIAL_KEPT_MS + 60_000);
  await make("d", "hf://a/d", PARTIAL_KEPT_MS - 60_000);
  await make("e", "hf://a/e", 0);
  await make("f", "hf://a/f", -2 * PARTIAL_KEPT_MS);
  await writeFile(join(dir, ".cache/partial", "e".repeat(64), "of.json"), '{"artif');
  await mkdir(join(dir, ".cache/partial/mine"));
  await of("a").sweep(now);
  expect((await cached("partial")).sort()).toEqual(["a".repeat(64), "d".repeat(64), "mine"]);
});
