import { randomUUID } from "node:crypto";
import { type FileHandle, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "@aibrix/service";
import { codeOf, isMissing, type Layout } from "./layout.ts";

/** This process among all that ever held a lock here. */
const INSTANCE = randomUUID();
const BEAT_MS = 1_000;
const POLL_MS = 200;
/** A lock whose record has not changed for so long is that of a process that is gone or stands still, in milliseconds. */
export const STALE_MS = 15_000;
/** Length of a record, so that a beat overwrites the last one whole. */
const RECORD_BYTES = 512;

/** What a holder writes into its lock. It changes with every beat. */
interface LockRecord {
  readonly pod: string;
  readonly instance: string;
  readonly token: string;
  readonly beat: number;
}

/** A lock that is held. */
export interface Lock {
  /** Names this holding among all others. */
  readonly token: string;
  /** Aborts when somebody else took the lock, because this process stood still for too long. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

export interface LockOptions {
  /** Monotonic, in milliseconds. */
  readonly clock?: () => number;
  readonly staleMs?: number;
  /** Another process in the same one, for tests. */
  readonly instance?: string;
}

/**
 * Locks between the pods of a node: files in a folder that they share. A holder changes its lock every second; whoever waits measures with
 * its own monotonic clock for how long a lock has not changed, so neither other process numbers nor a clock that is set anew matter. A lock
 * of this very pod that another process made is one of a process that is gone. After a holder stood still, two may hold a lock for a
 * moment: what is done under it must be right then too, if wasteful.
 */
export class Locks {
  readonly #layout: Layout;
  readonly #clock: () => number;
  readonly #staleMs: number;
  readonly #instance: string;

  constructor(layout: Layout, options: LockOptions = {}) {
    this.#layout = layout;
    this.#clock = options.clock ?? (() => performance.now());
    this.#staleMs = options.staleMs ?? STALE_MS;
    this.#instance = options.instance ?? INSTANCE;
  }

  /** Waits for a lock. `key` must be fit for a file's name. */
  async acquire(key: string, signal: AbortSignal): Promise<Lock> {
    const path = join(this.#layout.locks, key);
    let seen: { readonly text: string; readonly sinceMs: number } | undefined;
    for (;;) {
      signal.throwIfAborted();
      const mine = await this.#create(path);
      if (mine !== undefined) return mine;
      const text = await readFile(path, "utf8").catch(missing);
      if (text === undefined) continue;
      if (text !== seen?.text) seen = { text, sinceMs: this.#clock() };
      if (this.#isDead(text) || this.#clock() - seen.sinceMs >= this.#staleMs) {
        await this.#break(path, tokenOf(text));
        seen = undefined;
      } else await sleep(POLL_MS, signal);
    }
  }

  /** Whether a process may hold the lock, as far as one look can tell. */
  async isHeld(key: string): Promise<boolean> {
    const text = await readFile(join(this.#layout.locks, key), "utf8").catch(missing);
    return text !== undefined && !this.#isDead(text);
  }

  /** Removes a lock whose holder is known to be gone. */
  async sweep(key: string): Promise<void> {
    const path = join(this.#layout.locks, key);
    const text = await readFile(path, "utf8").catch(missing);
    if (text !== undefined && this.#isDead(text)) await this.#break(path, tokenOf(text));
  }

  async #create(path: string): Promise<Lock | undefined> {
    let file: FileHandle;
    try {
      file = await open(path, "wx", 0o644);
    } catch (error) {
      if (codeOf(error) === "EEXIST") return undefined;
      throw error;
    }
    const token = randomUUID();
    const lost = new AbortController();
    const { ino } = await file.stat();
    const isMine = async () => (await stat(path).catch(missing))?.ino === ino;
    let beat = 0;
    let misses = 0;
    const write = async () => {
      const record: LockRecord = { pod: this.#layout.pod, instance: this.#instance, token, beat };
      await file.write(JSON.stringify(record).padEnd(RECORD_BYTES), 0);
      beat += 1;
    };
    await write();
    const tick = async () => {
      // Into the file that this holder made, even if its name leads to another by now.
      await write();
      // Once it may be on its way back, after somebody took it for another.
      misses = (await isMine()) ? 0 : misses + 1;
      if (misses >= 2) lost.abort(new Error("another pod took the lock: this process stood still for too long"));
    };
    let beating: Promise<unknown> = Promise.resolve();
    const timer = setInterval(() => {
      beating = tick().catch(() => undefined);
    }, BEAT_MS);
    timer.unref();
    const release = async () => {
      clearInterval(timer);
      await beating;
      if (await isMine()) await rm(path, { force: true });
      await file.close();
    };
    return { token, lost: lost.signal, release };
  }

  #isDead(text: string): boolean {
    const record = parse(text);
    return record !== undefined && record.pod === this.#layout.pod && record.instance !== this.#instance;
  }

  /** Removes a lock that was seen to be dead. Where somebody else was faster and has a new one there, that one is put back. */
  async #break(path: string, token: string | undefined): Promise<void> {
    const away = join(this.#layout.trash, randomUUID());
    try {
      await rename(path, away);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    const taken = tokenOf(await readFile(away, "utf8"));
    if (taken !== token) await rename(away, path);
    else await rm(away, { force: true });
  }
}

function tokenOf(text: string): string | undefined {
  return parse(text)?.token;
}

function parse(text: string): LockRecord | undefined {
  try {
    return JSON.parse(text) as LockRecord;
  } catch {
    return undefined; // Killed between making the file and writing into it.
  }
}

function missing(error: unknown): undefined {
  if (isMissing(error)) return undefined;
  throw error;
}
