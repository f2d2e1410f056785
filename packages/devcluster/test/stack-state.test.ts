import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { commandTexts } from "../src/stack/commands.ts";
import { endLeftovers, STACK_DIR_VARIABLE } from "../src/stack/leftovers.ts";
import { freePorts, requireFreePort } from "../src/stack/ports.ts";
import { identify, isAlive } from "../src/stack/process-id.ts";
import { RotatingLog, tail } from "../src/stack/rotating-log.ts";
import { dropRunFile, type RunFile, RunRecord, readRunFile, takeRunFile } from "../src/stack/run-file.ts";
import { readStackFile, type StackFile, writeStackFile } from "../src/stack/stack-file.ts";
import { createStateDir, type StateDir, stateDir } from "../src/stack/state-dir.ts";
import { stopStack } from "../src/stack/stop.ts";
import { takeFolder } from "../src/stack/take-folder.ts";
import { until } from "../src/stack/time.ts";

const RUN_FOREVER = "setInterval(() => {}, 1000)";
const WAIT_MS = 20_000;

let dir: StateDir;
const children: ChildProcess[] = [];

beforeEach(() => {
  dir = stateDir(mkdtempSync(join(tmpdir(), "aibrix-state-")));
  createStateDir(dir);
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(dir.root, { recursive: true, force: true });
});

/** A process in a group of its own, as a killed supervisor would have left it. */
async function orphan(script: string = RUN_FOREVER, stackDir: string = dir.root) {
  const child = spawn(process.execPath, ["-e", script], {
    detached: true,
    stdio: "ignore",
    env: { ...process.env, [STACK_DIR_VARIABLE]: stackDir },
  });
  children.push(child);
  const id = identify(child.pid ?? 0);
  if (id === undefined) throw new Error("the process has ended by itself");
  return { ...id, since: "2026-01-01T00:00:00Z" };
}

const GONE = { pid: 2 ** 22 + 1, startTime: "1", since: "2026-01-01T00:00:00Z" };
const commands = commandTexts("/d", "/e");
const writeRun = (run: RunFile) => writeFileSync(dir.runFile, JSON.stringify(run));

test("a folder is taken by one supervisor at a time; the second is told how to go on", async () => {
  const record = takeRunFile(dir);
  expect(record).toBeInstanceOf(RunRecord);
  await expect(takeFolder(dir, commands, () => {})).rejects.toThrow(
    /A stack is being started or stopped in [\s\S]*npm run status -- --dir \/d[\s\S]*npm run stop -- --dir \/d[\s\S]*--dir ANOTHER_FOLDER/,
  );
  if (record instanceof RunRecord) record.remove();
  const next = await takeFolder(dir, commands, () => {});
  expect(readRunFile(dir)?.supervisor.pid).toBe(process.pid);
  next.remove();
  expect(existsSync(dir.runFile)).toBe(false);
});

test("what a killed supervisor left is ended by the next start, with what has no part of it spared", async () => {
  const left = await orphan();
  const foreign = await orphan();
  writeRun({
    supervisor: GONE,
    parts: { "engine-1": left, gateway: { ...foreign, startTime: "another process had this number" }, envoy: GONE },
  });
  const said: string[] = [];
  const record = await takeFolder(dir, commands, (line) => said.push(line));
  // The second one even carries this stack's mark in its environment, but it is not the process that was recorded.
  expect(said).toEqual(["ended what a killed stack had left running: engine-1"]);
  expect(isAlive(left)).toBe(false);
  expect(isAlive(foreign)).toBe(true);
  record.remove();
});

test.runIf(process.platform === "linux")(
  "the rest of a group whose leader is gone is ended only where it carries this stack's mark",
  async () => {
    // The leader starts a child of its own group and ends.
    const script = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(RUN_FOREVER)}], { stdio: "ignore" }).unref(); process.exit(0)`;
    const ours = await orphan(script);
    const foreign = await orphan(script, "/another/stack");
    expect(await until(() => !isAlive(ours) && !isAlive(foreign), 10, AbortSignal.timeout(WAIT_MS))).toBe(true);
    expect(await endLeftovers({ supervisor: GONE, parts: { ours, foreign } }, dir.root)).toEqual(["ours"]);
    process.kill(-foreign.pid, "SIGKILL");
  },
);

test("stop ends what a killed supervisor left, and removes its files but not its data", async () => {
  const left = await orphan();
  writeRun({ supervisor: GONE, parts: { "engine-1": left } });
  writeFileSync(dir.stackFile, "{}");
  expect(await stopStack(dir)).toMatch(/^Stopped after .* Data and logs stay in /);
  expect(isAlive(left)).toBe(false);
  expect([dir.runFile, dir.stackFile, dir.data].map((path) => existsSync(path))).toEqual([false, false, true]);
});

test("stop asks a living supervisor, and waits until it is gone", async () => {
  const listens = join(dir.root, "listens");
  const file = (path: string) => JSON.stringify(path);
  const onTerm = `require("node:fs").rmSync(${file(dir.runFile)}); process.exit(0);`;
  const supervisor = await orphan(
    `process.on("SIGTERM", () => { ${onTerm} }); require("node:fs").writeFileSync(${file(listens)}, ""); ${RUN_FOREVER}`,
  );
  writeRun({ supervisor, parts: {} });
  expect(await until(() => existsSync(listens), 10, AbortSignal.timeout(WAIT_MS))).toBe(true);
  expect(await stopStack(dir)).toMatch(/^Stopped after/);
  expect(isAlive(supervisor)).toBe(false);
});

test("stop where nothing runs is no error", async () => {
  expect(await stopStack(dir)).toBe(`No stack runs in ${dir.root}.`);
});

test("a stale record that another start has replaced meanwhile is left in place", () => {
  const record = takeRunFile(dir);
  dropRunFile(dir, { supervisor: GONE, parts: {} });
  expect(readRunFile(dir)?.supervisor.pid).toBe(process.pid);
  if (record instanceof RunRecord) record.remove();
});

test("each process is on disk as soon as it is recorded", () => {
  const record = takeRunFile(dir);
  if (!(record instanceof RunRecord)) throw new Error("the folder is taken");
  record.set("hub", { ...GONE, url: "http://h" });
  expect(readRunFile(dir)?.parts).toEqual({ hub: { ...GONE, url: "http://h" } });
  expect(record.pids()).toEqual({ supervisor: process.pid, hub: GONE.pid });
  record.set("hub", undefined);
  expect(readRunFile(dir)?.parts).toEqual({});
  record.remove();
});

test("stack.json is readable by its owner alone, and read back as it was written", () => {
  const stack: StackFile = {
    mode: "standalone",
    gateway: "http://127.0.0.1:1",
    engine: "mock",
    engines: [{ url: "http://e", runtime: "http://r" }],
    s3: { endpoint: "http://s", accessKeyId: "a", secretAccessKey: "b", bucket: "models", region: "us-east-1" },
    hub: "http://h",
    pids: { supervisor: 1 },
  };
  writeStackFile(dir, stack);
  expect(readStackFile(dir)).toEqual(stack);
  expect(statSync(dir.stackFile).mode & 0o777).toBe(0o600);
  writeFileSync(dir.stackFile, '{"mode":"standalone",');
  expect(readStackFile(dir)).toBeUndefined();
});

test("free ports are all different and can be listened on", async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
  for (const port of ports) await requireFreePort(port);
});

test("a chosen port in use is refused with what to do", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await expect(requireFreePort(port)).rejects.toThrow(`port ${port} is in use by another program: choose another one with --port`);
  await new Promise((resolve) => server.close(resolve));
});

test("a log is put aside when it is full, so that it takes twice its bound at most", () => {
  const path = join(dir.logs, "part.log");
  const log = new RotatingLog(path, 100);
  for (let i = 0; i < 50; i += 1) log.write(`line ${String(i).padStart(3, "0")}\n`);
  log.close();
  log.write("after the end\n");
  expect(statSync(path).size).toBeLessThanOrEqual(100);
  expect(statSync(`${path}.1`).size).toBeLessThanOrEqual(100);
  expect(tail(path, 2)).toEqual(["line 048", "line 049"]);
});

test("a new run begins its logs anew and keeps the earlier ones", () => {
  const path = join(dir.logs, "part.log");
  for (const text of ["first\n", "second\n"]) {
    const log = new RotatingLog(path);
    log.write(text);
    log.close();
  }
  expect(tail(path, 5)).toEqual(["second"]);
  expect(tail(`${path}.1`, 5)).toEqual(["first"]);
  expect(tail(join(dir.logs, "none.log"), 5)).toEqual([]);
});
