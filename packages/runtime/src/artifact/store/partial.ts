import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Half done downloads that nobody went on with for so long are garbage, in milliseconds. */
export const PARTIAL_KEPT_MS: number = 7 * 24 * 3_600_000;

/** What a half done download is of. */
export interface PartialOf {
  /** Stands for the content, as its source describes it; fit for a file's name. */
  readonly key: string;
  readonly artifactUrl: string;
}

/** A place where a download grows until it is whole. It survives the process, so that the next one goes on from there. */
export interface PartialFolder {
  /** Where the artifact's own files are, and nothing else: becomes the content's folder by a rename. */
  readonly files: string;
  /** Where the transfer notes what has arrived. */
  readonly notes: string;
  /** Gives the place back; what is in it stays for the next try. */
  release(): Promise<void>;
  /** Gives the place back and removes what is left of it. */
  discard(): Promise<void>;
}

/** Folders `<dir>/.partial/<key>/{files,notes,of.json}`; one holder at a time for each. */
export class PartialFolders {
  readonly #dir: string;
  readonly #held = new Map<string, Promise<void>>();

  /** @param dir - the folder of all of them, absolute */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Removes what is garbage: too old, or of a URL that a later download was of. To be called before anything is taken. */
  async sweep(nowMs: number): Promise<void> {
    const newest = new Set<string>();
    const found: { readonly path: string; readonly url: string; readonly usedMs: number }[] = [];
    for (const key of await readdir(this.#dir).catch(() => [])) {
      const path = join(this.#dir, key);
      const usedMs = (await stat(path)).mtimeMs;
      found.push({ path, url: await urlOf(path), usedMs });
    }
    for (const { path, url, usedMs } of found.sort((a, b) => b.usedMs - a.usedMs)) {
      const superseded = newest.has(url);
      newest.add(url);
      if (url === "" || superseded || nowMs - usedMs > PARTIAL_KEPT_MS) await rm(path, { recursive: true, force: true });
    }
  }

  /** Takes the folder of a content, with what an earlier try left there; waits while another download holds it. */
  async take({ key, artifactUrl }: PartialOf, signal: AbortSignal): Promise<PartialFolder> {
    for (let holder = this.#held.get(key); holder !== undefined; holder = this.#held.get(key)) await waited(holder, signal);
    signal.throwIfAborted();
    const free = Promise.withResolvers<void>();
    this.#held.set(key, free.promise);
    const path = join(this.#dir, key);
    const files = join(path, "files");
    const notes = join(path, "notes");
    const release = async () => {
      if (this.#held.get(key) === free.promise) this.#held.delete(key);
      free.resolve();
    };
    const discard = async () => {
      try {
        await rm(path, { recursive: true, force: true });
      } finally {
        await release();
      }
    };
    try {
      await mkdir(files, { recursive: true });
      await mkdir(notes, { recursive: true });
      await writeFile(join(path, "of.json"), JSON.stringify({ artifact_url: artifactUrl }));
      const now = new Date();
      await utimes(path, now, now);
    } catch (error) {
      await release();
      throw error;
    }
    return { files, notes, release, discard };
  }
}

async function urlOf(path: string): Promise<string> {
  try {
    const of = JSON.parse(await readFile(join(path, "of.json"), "utf8")) as { readonly artifact_url?: unknown };
    return typeof of.artifact_url === "string" ? of.artifact_url : "";
  } catch {
    return ""; // Killed before it was written: there is nothing in it yet.
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
