// The bootstrap imports this file before anything is installed: it and what it imports use Node's own modules alone.
import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { identify, isAlive, type ProcessId } from "../stack/process-id.ts";

/** How a lock is waited for. */
export interface LockOptions {
  /** What is done under the lock, as a noun for messages: `the build of Envoy 1.40.0`. */
  readonly what: string;
  /** Takes progress lines while another process holds the lock. */
  readonly log: (line: string) => void;
  /** Longest wait in milliseconds, 30 minutes by default. */
  readonly deadlineMs?: number;
  /** Time between looks at a held lock in milliseconds. */
  readonly pollMs?: number;
  readonly signal: AbortSignal;
}

interface Holder extends ProcessId {
  /** Tells two takings of the lock apart. */
  readonly token: string;
}

const PROGRESS_MS = 10_000;

/**
 * Runs `work` while no other process does, with a lock file at `path` (its folder is created).
 * A holder that crashed loses the lock: the file names its process by number and start time.
 * @throws Error when the lock is not free within the deadline, and what `work` or the signal throws.
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const me = holderOfThisProcess();
  await mkdir(dirname(path), { recursive: true });
  await acquire(path, me, options);
  try {
    return await work();
  } finally {
    if ((await readHolder(path))?.token === me.token) await removeIfThere(path);
  }
}

async function acquire(path: string, me: Holder, options: LockOptions): Promise<void> {
  const { what, log, signal, deadlineMs = 30 * 60_000, pollMs = 200 } = options;
  const startMs = performance.now();
  let nextLineMs = 0;
  for (;;) {
    signal.throwIfAborted();
    if (await tryTake(path, me)) return;
    const holder = await readHolder(path);
    if (holder === undefined) continue; // It was let go between the two calls.
    if (!isAlive(holder)) {
      await breakLock(path, holder, me);
      continue;
    }
    const waitedMs = performance.now() - startMs;
    if (waitedMs >= deadlineMs) {
      throw new Error(
        `process ${holder.pid} has been busy with ${what} for more than ${Math.round(deadlineMs / 1000)} s: wait for it, or end it, and try again (lock file ${path})`,
      );
    }
    if (waitedMs >= nextLineMs) {
      log(`waiting for process ${holder.pid}, which is busy with ${what} (${Math.round(waitedMs / 1000)} s)`);
      nextLineMs = waitedMs + PROGRESS_MS;
    }
    await setTimeout(Math.min(pollMs, deadlineMs - waitedMs), undefined, { signal });
  }
}

/** Puts the lock file in place with its content in one step (link fails where the file exists), so nobody ever reads half a holder. */
async function tryTake(path: string, me: Holder): Promise<boolean> {
  const draft = `${path}.${me.pid}.${randomUUID()}`;
  await writeFile(draft, JSON.stringify(me));
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    await removeIfThere(draft);
  }
}

/**
 * Removes the lock of a dead holder. Only one process at a time does so, else a second one could remove the lock that a third
 * has taken in the meantime; this right is a lock of its own, held for a moment.
 */
async function breakLock(path: string, dead: Holder, me: Holder): Promise<void> {
  const right = `${path}.break`;
  if (!(await tryTake(right, me))) {
    const other = await readHolder(right);
    if (other !== undefined && !isAlive(other)) await removeIfThere(right);
    else await setTimeout(20);
    return;
  }
  try {
    if ((await readHolder(path))?.token === dead.token) await removeIfThere(path);
  } finally {
    await removeIfThere(right);
  }
}

async function readHolder(path: string): Promise<Holder | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const holder = parseHolder(text);
  // What is no holder was not written by us whole (a full disk, a hand): nobody holds it.
  return holder ?? { pid: 0, startTime: "", token: text };
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, startTime, token } = JSON.parse(text);
    return Number.isInteger(pid) && typeof startTime === "string" && typeof token === "string" ? { pid, startTime, token } : undefined;
  } catch {
    return undefined;
  }
}

function holderOfThisProcess(): Holder {
  const id = identify(process.pid);
  if (id === undefined) throw new Error("cannot read this process's start time: /proc (Linux) or the command ps (elsewhere) is missing");
  return { ...id, token: randomUUID() };
}

async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}
