import { spawnSync } from "node:child_process";
import { readFileSync, watch } from "node:fs";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { NEVER, testStore } from "../../../test/fakes.ts";
import { type Layout, layoutOf } from "./layout.ts";
import { Locks } from "./lock.ts";

let dir: string;
let nowMs: number;
let looks: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lock-"));
  await testStore(dir).open();
  nowMs = 0;
  looks = 0;
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const path = (key: string) => join(dir, ".cache/locks", key);
const layout = (pod: string): Layout => layoutOf(dir, pod);
/** Locks of a pod's process; all share a clock that only the test moves. */
const clock = () => {
  looks += 1;
  return nowMs;
};
const of = (pod: string, instance = pod) => new Locks(layout(pod), { clock, staleMs: 1_000, instance });

/** Starts to wait for a lock; tells whether it has it. */
function waiting(locks: Locks, signal: AbortSignal = NEVER) {
  const state = { has: false };
  const lock = locks.acquire("k", signal).then((l) => {
    state.has = true;
    return l;
  });
  return { state, lock };
}

test("one of several pods at a time", async () => {
  let inside = 0;
  let most = 0;
  const enter = async (pod: string) => {
    const lock = await of(pod).acquire("k", NEVER);
    inside += 1;
    most = Math.max(most, inside);
    await readdir(dir);
    inside -= 1;
    await lock.release();
  };
  await Promise.all(["a", "b", "c", "d"].map(enter));
  expect(most).toBe(1);
  expect(await readdir(join(dir, ".cache/locks"))).toEqual([]);
});

test("who waits can give up, and the lock stays with its holder", async () => {
  const first = await of("a").acquire("k", NEVER);
  const abort = new AbortController();
  const { lock } = waiting(of("b"), abort.signal);
  abort.abort(new Error("enough"));
  await expect(lock).rejects.toThrow("enough");
  expect(await of("b").isHeld("k")).toBe(true);
  await first.release();
  expect(await of("b").isHeld("k")).toBe(false);
});

/** A lock as a process left it that was killed. */
async function abandoned(pod: string, instance: string, beat = 3): Promise<void> {
  await writeFile(path("k"), JSON.stringify({ pod, instance, token: "t", beat }).padEnd(512));
}

/** Waits until somebody who waits has looked at the lock again, and again. */
async function looked(): Promise<void> {
  const before = looks;
  await vi.waitFor(() => expect(looks).toBeGreaterThan(before + 2), { interval: 5, timeout: 10_000 });
}

test.each([
  { name: "now", atMs: Date.now() },
  { name: "an hour ago", atMs: Date.now() - 3_600_000 },
  { name: "in a year, by a clock that was wrong", atMs: Date.now() + 365 * 86_400_000 },
])("another pod's lock from $name that does not change any more is taken over after a while, and not before", async ({ atMs }) => {
  await abandoned("dead", "x");
  await utimes(path("k"), new Date(atMs), new Date(atMs));
  const { state, lock } = waiting(of("b"));
  await looked();
  nowMs = 999;
  await looked();
  expect(state.has).toBe(false);
  nowMs = 1_000;
  await (await lock).release();
});

test("a lock that changes is never taken, for however long it is held", async () => {
  await abandoned("a", "x", 0);
  const { state, lock } = waiting(of("b"));
  for (let beat = 1; beat < 5; beat += 1) {
    await looked();
    await abandoned("a", "x", beat);
    await looked();
    nowMs += 900;
  }
  await looked();
  expect(state.has).toBe(false);
  await rm(path("k"));
  await (await lock).release();
});

test("what a former process of this pod left is taken at once", async () => {
  await abandoned("a", "former");
  await (await of("a", "now").acquire("k", NEVER)).release();
  await abandoned("a", "former");
  await of("a", "now").sweep(["k"]);
  expect(await readdir(join(dir, ".cache/locks"))).toEqual([]);
});

test("an empty lock, as one is left where there are no links, is taken over after a while", async () => {
  await writeFile(path("k"), "");
  const { state, lock } = waiting(of("a", "now"));
  await looked();
  expect(state.has).toBe(false);
  nowMs += 1_000;
  await (await lock).release();
});

test("a sweep leaves locks of other pods and of this process", async () => {
  const mine = await of("a").acquire("k", NEVER);
  await of("a").sweep(["k"]);
  await of("b").sweep(["k"]);
  expect(await of("a").isHeld("k")).toBe(true);
  await mine.release();
});

test("sweeps remove another pod's lock that was silent from one to the other, and no other", async () => {
  const b = of("b");
  await abandoned("a", "x", 0);
  await b.sweep(["k"]);
  nowMs = 999;
  await b.sweep(["k"]);
  expect(await b.isHeld("k")).toBe(true);
  await abandoned("a", "x", 1);
  nowMs = 1_000;
  await b.sweep(["k"]);
  expect(await b.isHeld("k")).toBe(true);
  // What has gone meanwhile, and come again, is another one.
  await b.sweep([]);
  nowMs = 2_000;
  await b.sweep(["k"]);
  nowMs = 2_999;
  expect(await b.isHeld("k")).toBe(true);
  nowMs = 3_000;
  expect(await b.isHeld("k")).toBe(false);
  await b.sweep(["k"]);
  expect(await readdir(join(dir, ".cache/locks"))).toEqual([]);
});

test("a lock has its record from its first moment on", async () => {
  const empty: string[] = [];
  const watcher = watch(join(dir, ".cache/locks"), (_, name) => {
    try {
      if (readFileSync(join(dir, ".cache/locks", name ?? ""), "utf8") === "") empty.push(name ?? "");
    } catch {} // It is gone again.
  });
  for (let i = 0; i < 50; i += 1) await (await of("a").acquire("k", NEVER)).release();
  watcher.close();
  expect(empty).toEqual([]);
});

/** In a process that may write nothing any more once it holds "held": waits for "k" twice, then loses "held". Prints what came of it. */
const FULL = `
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { layoutOf } from ${JSON.stringify(join(import.meta.dirname, "layout.ts"))};
import { Locks } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
const locks = new Locks(layoutOf(process.argv[1], "a"));
const held = await locks.acquire("held", AbortSignal.timeout(10_000));
spawnSync("prlimit", ["--fsize=0:0", "--pid", String(process.pid)]);
const codes = [];
const files = [];
for (let i = 0; i < 3; i += 1) {
  codes.push(await locks.acquire("k", AbortSignal.timeout(5_000)).then(() => "held", (error) => error.code));
  files.push(readdirSync("/proc/self/fd").length);
}
rmSync(process.argv[1] + "/.cache/locks/held");
const keepAlive = setTimeout(() => undefined, 10_000);
if (!held.lost.aborted) await new Promise((resolve) => {
  held.lost.addEventListener("abort", resolve);
  setTimeout(resolve, 10_000).unref();
});
clearTimeout(keepAlive);
console.log(JSON.stringify({ codes, leaked: files[2] - files[0], lost: held.lost.aborted }));
`;

test("where nothing can be written, a lock says so each time and leaves nothing, and one that is held still learns that it is lost", async () => {
  const { stdout, stderr } = spawnSync(process.execPath, ["--conditions=@aibrix/source", "--input-type=module", "-e", FULL, dir], {
    encoding: "utf8",
  });
  expect({ stderr, said: JSON.parse(stdout || "null") }).toMatchObject({
    said: { codes: ["EFBIG", "EFBIG", "EFBIG"], leaked: 0, lost: true },
  });
  expect(await readdir(join(dir, ".cache/locks"))).toEqual([]);
  expect(await readdir(join(dir, "pods/a/.tmp"))).toEqual([]);
}, 30_000);

test("of many that see a dead lock, one at a time gets it", async () => {
  await abandoned("dead", "x");
  let inside = 0;
  let most = 0;
  const enter = async (pod: string) => {
    const lock = await of(pod).acquire("k", NEVER);
    inside += 1;
    most = Math.max(most, inside);
    await readdir(dir);
    inside -= 1;
    await lock.release();
  };
  const all = Promise.all(["a", "b", "c", "d", "e"].map(enter));
  const timer = setInterval(() => (nowMs += 10), 10);
  await all;
  clearInterval(timer);
  expect(most).toBe(1);
});

test("a holder that stood still learns that it lost the lock, and does not take away the next one's", async () => {
  const first = await of("a").acquire("k", NEVER);
  await rm(path("k")); // As somebody does who saw no sign of it.
  const second = await of("b").acquire("k", NEVER);
  await vi.waitFor(() => expect(first.lost.aborted).toBe(true), { timeout: 10_000 });
  await first.release();
  expect(await of("b").isHeld("k")).toBe(true);
  expect(second.lost.aborted).toBe(false);
  await second.release();
});
