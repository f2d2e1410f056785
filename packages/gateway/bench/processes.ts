import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

const START_MS = 60_000;
const END_MS = 15_000;
const LOOK_MS = 20;

/** A process that the bench has started. */
export interface Running {
  readonly pid: number;
  /** Sends SIGTERM, SIGKILL after a while, and waits for the end. */
  readonly stop: () => Promise<void>;
  /** What it says on its standard output, a line of JSON at a time. */
  readonly say: () => Promise<unknown>;
}

/**
 * Starts a program.
 *
 * @param log - a file for what it writes, and for its standard output too unless it speaks JSON
 * @param signal - ends it
 */
export function start(argv: readonly [string, ...string[]], log: string, speaks: boolean, signal: AbortSignal): Running {
  signal.throwIfAborted();
  const [file, ...args] = argv;
  const out = openSync(log, "a");
  // Ours end when their standard input does: so they outlive the bench by no means.
  const child = spawn(file, args, { stdio: [speaks ? "pipe" : "ignore", speaks ? "pipe" : out, out] });
  const lines = child.stdout === null ? undefined : createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const stop = async (): Promise<void> => {
    signal.removeEventListener("abort", kill);
    await end(child);
  };
  const kill = (): void => void child.kill("SIGTERM");
  signal.addEventListener("abort", kill, { once: true });
  return {
    pid: child.pid ?? 0,
    stop,
    say: async () => {
      const line = await lines?.next();
      signal.throwIfAborted();
      if (line === undefined || line.done === true) throw new Error(`${file} ended early:\n${tail(log)}`);
      return JSON.parse(line.value);
    },
  };
}

/** Waits until an address answers 200. @throws Error with the end of the log where it does not */
export async function answers(url: string, log: string, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + START_MS;
  for (;;) {
    const ok = await fetch(url, { signal }).then(
      (answer) => answer.ok,
      () => false,
    );
    signal.throwIfAborted();
    if (ok) return;
    if (performance.now() > endMs) throw new Error(`${url} does not answer:\n${tail(log)}`);
    await delay(LOOK_MS, undefined, { signal });
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), END_MS);
  await exit;
  clearTimeout(timer);
}

function tail(file: string): string {
  return readFileSync(file, "utf8").slice(-2_000);
}

/** CPU time that a process's threads have taken, user and system, in microseconds: the scheduler's own count, which has no ticks. */
export function cpuUs(pid: number): number {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ", 1)[0]);
    } catch {
      // A thread that has just ended.
    }
  }
  return ns / 1000;
}

/** How often a process has called the system to read, whatever it was: sockets for the most part. */
export function readCalls(pid: number): number {
  return Number(/^syscr: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
}

/** Memory of a process that is in RAM now, and the most that ever was, in MiB. */
export function memoryMib(pid: number): { readonly now: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return { now: kibOf(status, "VmRSS") / 1024, peak: kibOf(status, "VmHWM") / 1024 };
}

/** A value of `/proc/PID/status` in KiB. */
export function kibOf(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]);
}
