import { randomUUID } from "node:crypto";
import { type FileHandle, link, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "@aibrix/service";
import { codeOf, isMissing, type Layout, makeFolder, NO_LINKS } from "./layout.ts";

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

/** A lock as a look found it. */
interface Seen {
  readonly text: string;
  /** Since when it has been like that, by this process's monotonic clock. */
  readonly sinceMs: number;
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
  /** Locks that sweeps came upon. */
  readonly #seen = new Map<string, Seen>();

  constructor(layout: Layout, options: LockOptions = {}) {
    this.#layout = layout;
    this.#clock = options.clock ?? (() => performance.now());
    this.#staleMs = options.staleMs ?? STALE_MS;
    this.#instance = options.instance ?? INSTANCE;
  }

  /** Waits for a lock. `key` must be fit for a file's name. */
  async acquire(key: string, signal: AbortSignal): Promise<Lock> {
    const path = join(this.#layout.locks, key);
    let seen: Seen | undefined;
    for (;;) {
      signal.throwIfAborted();
      const text = await readFile(path, "utf8").catch(missing);
      if (text === undefined) {
        const mine = await this.#create(path);
        if (mine !== undefined) return mine;
        continue;
      }
      seen = this.#look(text, seen);
      if (this.#isGone(seen)) {
        await this.#break(path, tokenOf(text));
        seen = undefined;
      } else await sleep(POLL_MS, signal);
    }
  }

  /** Whether a process may hold the lock, as far as the sweeps so far and one more look can tell. */
  async isHeld(key: string): Promise<boolean> {
    const text = await readFile(join(this.#layout.locks, key), "utf8").catch(missing);
    return text !== undefined && !this.#isGone(this.#look(text, this.#seen.get(key)));
  }

  /** Removes locks whose holders are known to be gone, or were seen to be silent since an earlier sweep. To be called with all that are there. */
  async sweep(keys: readonly string[]): Promise<void> {
    for (const key of [...this.#seen.keys()].filter((k) => !keys.includes(k))) this.#seen.delete(key);
    for (const key of keys) {
      const path = join(this.#layout.locks, key);
      const text = await readFile(path, "utf8").catch(missing);
      if (text === undefined) continue;
      const seen = this.#look(text, this.#seen.get(key));
      this.#seen.set(key, seen);
      if (!this.#isGone(seen)) continue;
      await this.#break(path, tokenOf(text));
      this.#seen.delete(key);
    }
  }

  /** Makes a lock, unless there is one. It has its record from its first moment on. */
  async #create(path: string): Promise<Lock | undefined> {
    const token = randomUUID();
    const draft = await this.#temporary(token);
    const file = await open(draft, "wx", 0o644);
    let beat = 0;
    const write = async (into: FileHandle) => {
      const record: LockRecord = { pod: this.#layout.pod, instance: this.#instance, token, beat };
      await into.write(JSON.stringify(record).padEnd(RECORD_BYTES), 0);
      beat += 1;
    };
    try {
      await write(file);
      await link(draft, path);
    } catch (error) {
      await file.close();
      if (codeOf(error) === "EEXIST") return undefined;
      if (!NO_LINKS.includes(codeOf(error))) throw error;
      const made = await this.#createInPlace(path, write);
      return made === undefined ? undefined : await this.#hold(path, made, token, write);
    } finally {
      await rm(draft, { force: true });
    }
    return await this.#hold(path, file, token, write);
  }

  /** Where the file system has no links: a process that is killed in between leaves an empty lock, which is waited for. */
  async #createInPlace(path: string, write: (into: FileHandle) => Promise<void>): Promise<FileHandle | undefined> {
    let file: FileHandle;
    try {
      file = await open(path, "wx", 0o644);
    } catch (error) {
      if (codeOf(error) === "EEXIST") return undefined;
      throw error;
    }
    try {
      await write(file);
      return file;
    } catch (error) {
      await file.close();
      await rm(path, { force: true });
      throw error;
    }
  }

  async #hold(path: string, file: FileHandle, token: string, write: (into: FileHandle) => Promise<void>): Promise<Lock> {
    const lost = new AbortController();
    const { ino } = await file.stat();
    const isMine = async () => (await stat(path).catch(missing))?.ino === ino;
    let misses = 0;
    const tick = async () => {
      // Into the file that this holder made, even if its name leads to another by now. On a full volume that may fail.
      await write(file).catch(() => undefined);
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
      try {
        if (await isMine()) await rm(path, { force: true });
      } finally {
        await file.close();
      }
    };
    return { token, lost: lost.signal, release };
  }

  async #temporary(name: string): Promise<string> {
    await makeFolder(this.#layout.tmp);
    return join(this.#layout.tmp, name);
  }

  #look(text: string, before: Seen | undefined): Seen {
    return text === before?.text ? before : { text, sinceMs: this.#clock() };
  }

  #isGone({ text, sinceMs }: Seen): boolean {
    return this.#isDead(text) || this.#clock() - sinceMs >= this.#staleMs;
  }

  #isDead(text: string): boolean {
    const record = parse(text);
    return record !== undefined && record.pod === this.#layout.pod && record.instance !== this.#instance;
  }

  /** Removes a lock that was seen to be dead. Where somebody else was faster and has a new one there, that one is put back. */
  async #break(path: string, token: string | undefined): Promise<void> {
    // Not the trash, which other pods empty.
    const away = await this.#temporary(randomUUID());
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
    return undefined; // Killed between making the file and writing into it, where there are no links.
  }
}

function missing(error: unknown): undefined {
  if (isMissing(error)) return undefined;
  throw error;
}
