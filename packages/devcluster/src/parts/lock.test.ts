import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { identify } from "../stack/process-id.ts";
import { type LockOptions, withLock } from "./lock.ts";

let dir: string;
let path: string;
let lines: string[];
const children: ChildProcess[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lock-"));
  path = join(dir, "locks", "thing.lock");
  lines = [];
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await rm(dir, { recursive: true, force: true });
});

function options(more: Partial<LockOptions> = {}): LockOptions {
  return {
    what: "the test",
    log: (line) => lines.push(line),
    pollMs: 10,
    deadlineMs: 20_000,
    signal: new AbortController().signal,
    ...more,
  };
}

/** Another process that runs `body` with `withLock`, `path` and `options` at hand. */
function otherProcess(body: string): ChildProcess {
  const script = `
    import { readFileSync, writeFileSync } from "node:fs";
    import { withLock } from ${JSON.stringify(new URL("./lock.ts", import.meta.url).href)};
    const path = ${JSON.stringify(path)};
    const options = { what: "the test", log: () => {}, pollMs: 5, signal: new AbortController().signal };
    ${body}`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return child;
}

/** A process that takes the lock and keeps it until it is killed. */
async function holder(): Promise<ChildProcess> {
  const child = otherProcess(
    `await withLock(path, options, () => new Promise(() => { console.log("held"); setInterval(() => {}, 1000); }));`,
  );
  if (child.stdout !== null) await once(child.stdout, "data");
  return child;
}

test("work runs once at a time across processes, and no file is left", async () => {
  const counter = join(dir, "counter");
  await writeFile(counter, "0");
  const body = `for (let i = 0; i < 25; i += 1) await withLock(path, options, async () => {
    const seen = Number(readFileSync(${JSON.stringify(counter)}, "utf8"));
    await new Promise((resolve) => setImmediate(resolve));
    writeFileSync(${JSON.stringify(counter)}, String(seen + 1));
  });`;
  const exits = await Promise.all([1, 2, 3].map(async () => (await once(otherProcess(body), "exit"))[0]));
  expect(exits).toEqual([0, 0, 0]);
  expect(await readFile(counter, "utf8")).toBe("75");
  expect(await readdir(join(dir, "locks"))).toEqual([]);
});

test("two calls of one process wait for each other too", async () => {
  const order: string[] = [];
  const work = (name: string) => async () => {
    order.push(`${name} in`);
    await new Promise((resolve) => setImmediate(resolve));
    order.push(`${name} out`);
  };
  await Promise.all([withLock(path, options(), work("a")), withLock(path, options(), work("b"))]);
  // Whoever came first was out before the other came in.
  expect([
    ["a in", "a out", "b in", "b out"],
    ["b in", "b out", "a in", "a out"],
  ]).toContainEqual(order);
});

test("a live holder is named while it is waited for, and at the deadline", async () => {
  const child = await holder();
  const waiting = withLock(path, options({ deadlineMs: 50 }), async () => "never");
  await expect(waiting).rejects.toThrow(new RegExp(`process ${child.pid} has been busy with the test .* end it, and try again`));
  expect(lines).toEqual([`waiting for process ${child.pid}, which is busy with the test (0 s)`]);
});

test("the lock of a holder that was killed is taken", async () => {
  const child = await holder();
  const taken = withLock(path, options(), async () => "taken");
  child.kill("SIGKILL");
  expect(await taken).toBe("taken");
  expect(await readdir(join(dir, "locks"))).toEqual([]);
});

test.each([
  ["a process of that number that started at another time", JSON.stringify({ pid: process.pid, startTime: "before", token: "t" })],
  ["a file that names no process", "half a"],
])("%s does not hold the lock", async (_, content) => {
  await withLock(path, options(), async () => undefined);
  await writeFile(path, content);
  expect(await withLock(path, options({ deadlineMs: 5000 }), async () => "taken")).toBe("taken");
});

test("a right to break that was left by a crash does not block for ever", async () => {
  await withLock(path, options(), async () => undefined);
  const dead = JSON.stringify({ pid: process.pid, startTime: "before", token: "t" });
  await writeFile(path, dead);
  await writeFile(`${path}.break`, dead);
  expect(await withLock(path, options({ deadlineMs: 5000 }), async () => "taken")).toBe("taken");
});

test("a lock that is another one's by now is left to it", async () => {
  const other = JSON.stringify({ ...identify(process.pid), token: "another one" });
  await withLock(path, options(), () => writeFile(path, other));
  expect(await readFile(path, "utf8")).toBe(other);
});

test("the lock is let go when the work fails, and the wait ends with the signal", async () => {
  await expect(withLock(path, options(), () => Promise.reject(new Error("no luck")))).rejects.toThrow("no luck");
  const stop = new AbortController();
  const id = identify(process.pid);
  await writeFile(path, JSON.stringify({ ...id, token: "someone else here" }));
  const log = (): void => stop.abort(new Error("enough"));
  await expect(withLock(path, options({ log, signal: stop.signal }), async () => undefined)).rejects.toThrow();
  expect(JSON.parse(await readFile(path, "utf8")).token).toBe("someone else here");
});
