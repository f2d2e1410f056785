import { constants, cp, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HEX, isMissing, isTaken, type Layout, makeFolder, removeWhole, WORK_NAME } from "./layout.ts";
import type { Lock, Locks } from "./lock.ts";

/** Half done downloads that nobody went on with for so long are garbage, in milliseconds. */
export const PARTIAL_KEPT_MS: number = 7 * 24 * 3_600_000;

/** What a half done download is of. */
export interface PartialOf {
  /** Stands for the content, as its source describes it: 64 hexadecimal digits. */
  readonly key: string;
  readonly artifactUrl: string;
}

/** A place where a download grows until it is whole. It survives the process, so that the next one goes on from there. */
export interface PartialFolder {
  /** Where the artifact's own files are, and nothing else: becomes the content's folder by a rename. */
  readonly files: string;
  /** Where the transfer notes what has arrived. */
  readonly notes: string;
  /** Something of an earlier try is in it. */
  readonly isOld: boolean;
  /** Aborts when another pod went on with this download, because this process stood still for too long. */
  readonly lost: AbortSignal;
  /** Gives the place back; what is in it stays for the next try. */
  release(): Promise<void>;
  /** Gives the place back and removes what is left of it. */
  discard(): Promise<void>;
}

/** Name of the file that says what a half download is of, and whose. */
const OF_FILE = "of.json";

interface OfFile {
  readonly artifact_url: string;
  readonly pod: string;
  /** It was taken from a process that showed no sign of life, and may only stand still. */
  readonly taken?: boolean;
}

/**
 * Half done downloads, below `.cache`: `partial/<key>/{files,notes,of.json}` while nobody works on them, `work/<key>.<token>/` while
 * somebody does. One holder at a time for each key, among all pods that share the volume.
 */
export class PartialFolders {
  readonly #layout: Layout;
  readonly #locks: Locks;
  readonly #held = new Map<string, Promise<void>>();

  constructor(layout: Layout, locks: Locks) {
    this.#layout = layout;
    this.#locks = locks;
  }

  /**
   * Removes what is garbage: too old, or of a URL that a later download was of. What a killed process worked on is kept for the next try: of this
   * pod at once, of another one when its lock was silent from one sweep to another.
   */
  async sweep(nowMs: number): Promise<void> {
    const { work, partial, locks } = this.#layout;
    await this.#locks.sweep((await readdir(locks)).filter((k) => HEX.test(k)));
    for (const name of (await readdir(work)).filter((n) => WORK_NAME.test(n))) {
      const key = name.slice(0, name.indexOf("."));
      if (await this.#locks.isHeld(key)) continue;
      await this.#markTaken(join(work, name));
      await this.#putBack(join(work, name), key);
    }
    const newest = new Set<string>();
    const found: { readonly path: string; readonly url: string; readonly usedMs: number }[] = [];
    for (const key of (await readdir(partial)).filter((k) => HEX.test(k))) {
      const path = join(partial, key);
      const usedMs = (await stat(path).catch(() => undefined))?.mtimeMs;
      if (usedMs !== undefined) found.push({ path, url: (await readOf(path))?.artifact_url ?? "", usedMs });
    }
    for (const { path, url, usedMs } of found.sort((a, b) => b.usedMs - a.usedMs)) {
      const superseded = newest.has(url);
      newest.add(url);
      // A time that lies far ahead is one of a clock that was wrong: nothing is known of its age.
      if (url === "" || superseded || Math.abs(nowMs - usedMs) > PARTIAL_KEPT_MS) await removeWhole(this.#layout, path);
    }
  }

  /**
   * Takes the folder of a content, with what an earlier try left there; waits while another download holds it, of this pod or another. Who
   * has waited looks first whether the content has come meanwhile.
   */
  async take({ key, artifactUrl }: PartialOf, signal: AbortSignal): Promise<PartialFolder> {
    for (let holder = this.#held.get(key); holder !== undefined; holder = this.#held.get(key)) await waited(holder, signal);
    signal.throwIfAborted();
    const free = Promise.withResolvers<void>();
    this.#held.set(key, free.promise);
    let lock: Lock | undefined;
    const unlock = async () => {
      try {
        await lock?.release();
      } finally {
        if (this.#held.get(key) === free.promise) this.#held.delete(key);
        free.resolve();
      }
    };
    try {
      lock = await this.#locks.acquire(key, signal);
      return await this.#claim(key, artifactUrl, lock, unlock);
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  async #claim(key: string, artifactUrl: string, lock: Lock, unlock: () => Promise<void>): Promise<PartialFolder> {
    const { work, partial, pod } = this.#layout;
    const path = join(work, `${key}.${lock.token}`);
    const left = (await readdir(work)).filter((n) => n.startsWith(`${key}.`)).map((n) => join(work, n));
    let isOld = false;
    for (const place of [...left, join(partial, key)])
      if (await moved(place, path)) {
        isOld = true;
        const of = await readOf(path);
        const isGivenBack = place === join(partial, key) && of?.taken !== true;
        if (!isGivenBack && of?.pod !== pod) await this.#renewFiles(path);
        break;
      }
    for (const place of left) await removeWhole(this.#layout, place);
    const files = join(path, "files");
    const notes = join(path, "notes");
    await makeFolder(path);
    await makeFolder(files);
    await makeFolder(notes);
    const of: OfFile = { artifact_url: artifactUrl, pod };
    await writeFile(join(path, OF_FILE), JSON.stringify(of));
    const now = new Date();
    await utimes(path, now, now);
    const release = async () => {
      try {
        await this.#putBack(path, key);
      } finally {
        await unlock();
      }
    };
    const discard = async () => {
      try {
        await removeWhole(this.#layout, path);
      } finally {
        await unlock();
      }
    };
    return { files, notes, isOld, lost: lock.lost, release, discard };
  }

  async #markTaken(path: string): Promise<void> {
    const of = await readOf(path);
    if (of === undefined || of.pod === this.#layout.pod) return;
    await writeFile(join(path, OF_FILE), JSON.stringify({ ...of, taken: true } satisfies OfFile)).catch((error: unknown) => {
      if (!isMissing(error)) throw error; // Somebody else has just taken it.
    });
  }

  /**
   * The process that wrote these files may only stand still, and write on into them one day: it is left those, and this one goes on with
   * copies. (Where the file system can, these share their blocks.)
   */
  async #renewFiles(path: string): Promise<void> {
    const old = join(path, "files.old");
    if (!(await moved(join(path, "files"), old))) return;
    await makeFolder(join(path, "files"));
    for (const name of await readdir(old)) {
      await cp(join(old, name), join(path, "files", name), { recursive: true, mode: constants.COPYFILE_FICLONE });
      await rm(join(old, name), { recursive: true, force: true });
    }
    await rm(old, { recursive: true, force: true });
  }

  /** Keeps a half download for the next try, unless there is one already, or its files have been installed before its process was killed. */
  async #putBack(path: string, key: string): Promise<void> {
    if ((await stat(join(path, "files")).catch(() => undefined)) === undefined) {
      await removeWhole(this.#layout, path);
      return;
    }
    try {
      await moved(path, join(this.#layout.partial, key));
    } catch (error) {
      if (!isTaken(error)) throw error;
      await removeWhole(this.#layout, path);
    }
  }
}

/** Whether there was something to move. */
async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function readOf(path: string): Promise<OfFile | undefined> {
  try {
    return JSON.parse(await readFile(join(path, OF_FILE), "utf8")) as OfFile;
  } catch {
    return undefined; // Killed before it was written: there is nothing in it yet.
  }
}

async function waited(holder: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([holder, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
