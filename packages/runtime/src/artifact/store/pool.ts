import { createHash, randomUUID } from "node:crypto";
import { chmod, readdir, readFile, rename, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import type { Downloaded } from "../transfer/download.ts";
import { HEX, isMissing, isTaken, type Layout, MANIFEST_FILE, removeWhole, WORK_NAME, writeReadable } from "./layout.ts";
import { type CacheEntry, planEviction } from "./plan-eviction.ts";

/** A file of a content. Its time is that of the checked one: who writes into it afterwards changes that. */
export interface StoredFile extends Downloaded {
  readonly mtimeMs?: number;
}

/** Bounds of the cache. */
export interface CacheBounds {
  /** Most bytes of contents in the cache; none where absent. */
  readonly maxBytes?: number | undefined;
  /** What is to stay free on the volume: bytes, or a share of its size. */
  readonly minFree: { readonly bytes: number } | { readonly share: number };
}

/** What came of a look at the cache. */
export interface CacheUsage {
  readonly entries: number;
  readonly bytes: number;
}

export interface PoolEvents {
  readonly onUsage: (usage: CacheUsage) => void;
  readonly onEvicted: (entry: CacheEntry) => void;
}

/** Files of a content in the pool. */
export interface Pooled {
  readonly hex: string;
  readonly path: string;
  readonly files: readonly StoredFile[];
}

/**
 * Contents by their digest, each once for all adapters and all pods that share the volume: `.cache/contents/<digest in hex>/`, made by a
 * rename of a complete folder and never changed. Nothing reads here but this class: engines read links of their pod.
 */
export class Pool {
  readonly #layout: Layout;
  readonly #bounds: CacheBounds;
  readonly #events: PoolEvents;
  readonly #scans = pLimit(1);

  constructor(layout: Layout, bounds: CacheBounds, events: PoolEvents) {
    this.#layout = layout;
    this.#bounds = bounds;
    this.#events = events;
  }

  /** Whether something was fetched for a key. */
  async has(key: string): Promise<boolean> {
    const hex = await this.#hexOf(key);
    return hex !== undefined && (await stat(join(this.#layout.contents, hex)).catch(absent)) !== undefined;
  }

  /** What was fetched for a key, if it is here and whole. Counts as a use. */
  async find(key: string): Promise<Pooled | undefined> {
    const hex = await this.#hexOf(key);
    return hex === undefined ? undefined : await this.get(hex);
  }

  /** A content, if it is here and whole. One that is not is removed. Counts as a use. */
  async get(hex: string): Promise<Pooled | undefined> {
    const path = join(this.#layout.contents, hex);
    const files = await readFiles(path);
    if (files !== undefined && (await areWhole(path, files))) {
      await this.used(hex);
      return { hex, path, files };
    }
    await removeWhole(this.#layout, path);
    return undefined;
  }

  /** Moves a complete folder here, whose files are on the disk. Where the same content is here already and whole, that one stays, and the folder where it was. */
  async put(hex: string, folder: string, files: readonly StoredFile[]): Promise<Pooled> {
    await chmod(folder, 0o755);
    await writeReadable(join(folder, MANIFEST_FILE), JSON.stringify({ files }));
    const path = join(this.#layout.contents, hex);
    for (;;) {
      try {
        await rename(folder, path);
        return { hex, path, files };
      } catch (error) {
        if (!isTaken(error)) throw error;
      }
      const there = await this.get(hex);
      if (there !== undefined) return there;
    }
  }

  /** Notes what was fetched for a key. */
  async setSource(key: string, hex: string): Promise<void> {
    const temporary = join(this.#layout.tmp, randomUUID());
    await writeReadable(temporary, hex);
    await rename(temporary, join(this.#layout.sources, key));
  }

  /** Notes that a content is used now. */
  async used(hex: string): Promise<void> {
    const now = new Date();
    await utimes(join(this.#layout.contents, hex, MANIFEST_FILE), now, now).catch(absent);
  }

  /** Removes a content unless a pod has links to it. */
  async drop(hex: string): Promise<void> {
    const path = join(this.#layout.contents, hex);
    const entry = await entryOf(path);
    if (entry !== undefined && !entry.linked) await removeWhole(this.#layout, path);
  }

  /** Removes what was least recently used, so that `neededBytes` more keep within the bounds, as far as that is possible. */
  async makeRoom(neededBytes: number): Promise<void> {
    await this.#scans(async () => {
      const entries = [...(await this.#entries()), ...(await this.#partials())];
      const growing = await this.#growing();
      const { bsize, bavail, blocks } = await statfs(this.#layout.root);
      const { maxBytes, minFree } = this.#bounds;
      const minFreeBytes = "bytes" in minFree ? minFree.bytes : Math.ceil(minFree.share * blocks * bsize);
      const evicted = planEviction({
        entries: [...entries, ...growing],
        freeBytes: bavail * bsize,
        maxBytes,
        minFreeBytes,
        neededBytes,
      });
      const gone = new Set<CacheEntry>();
      for (const entry of evicted) {
        gone.add(entry);
        if (await removeWhole(this.#layout, entry.id)) this.#events.onEvicted(entry);
      }
      const left = entries.filter((e) => !gone.has(e));
      this.#events.onUsage({ entries: left.length, bytes: left.reduce((sum, e) => sum + e.bytes, 0) });
    });
  }

  /** Removes notes of sources whose content is gone. */
  async sweepSources(): Promise<void> {
    const contents = new Set(await readdir(this.#layout.contents));
    for (const key of (await readdir(this.#layout.sources)).filter((k) => HEX.test(k))) {
      const path = join(this.#layout.sources, key);
      const hex = await readFile(path, "utf8").catch(absent);
      if (hex !== undefined && !contents.has(hex)) await removeWhole(this.#layout, path);
    }
  }

  async #hexOf(key: string): Promise<string | undefined> {
    const hex = await readFile(join(this.#layout.sources, key), "utf8").catch(absent);
    return hex !== undefined && HEX.test(hex) ? hex : undefined;
  }

  async #entries(): Promise<readonly CacheEntry[]> {
    return await entriesIn(this.#layout.contents, entryOf);
  }

  /** Half downloads that nobody works on. */
  async #partials(): Promise<readonly CacheEntry[]> {
    return await entriesIn(this.#layout.partial, (path) => halfOf(path, false));
  }

  /** Half downloads that somebody works on, as far as they are here. They never go. */
  async #growing(): Promise<readonly CacheEntry[]> {
    return await entriesIn(this.#layout.work, (path) => halfOf(path, true), WORK_NAME);
  }
}

async function halfOf(path: string, linked: boolean): Promise<CacheEntry | undefined> {
  // An archive is unpacked in there.
  const names = await readdir(join(path, "files"), { recursive: true }).catch(() => []);
  const sizes = await Promise.all(names.map((n) => stat(join(path, "files", n)).catch(absent)));
  const usedMs = (await stat(path).catch(absent))?.mtimeMs;
  // Blocks, for a file may have been given its full size before its bytes came.
  return usedMs === undefined ? undefined : { id: path, linked, usedMs, bytes: sizes.reduce((sum, s) => sum + (s?.blocks ?? 0) * 512, 0) };
}

async function entriesIn(
  folder: string,
  read: (path: string) => Promise<CacheEntry | undefined>,
  names = HEX,
): Promise<readonly CacheEntry[]> {
  const entries: CacheEntry[] = [];
  for (const name of (await readdir(folder)).filter((n) => names.test(n))) {
    const entry = await read(join(folder, name));
    if (entry !== undefined) entries.push(entry);
  }
  return entries;
}

async function entryOf(path: string): Promise<CacheEntry | undefined> {
  const names = await readdir(path).catch(() => []);
  const stats = await Promise.all(names.map(async (name) => ({ name, stat: await stat(join(path, name)).catch(absent) })));
  const usedMs = stats.find((s) => s.name === MANIFEST_FILE)?.stat?.mtimeMs;
  const bytes = stats.reduce((sum, s) => sum + (s.stat?.size ?? 0), 0);
  const linked = stats.some((s) => (s.stat?.nlink ?? 0) > 1);
  // Without a list of files nobody can use it: it is the first to go.
  return { id: path, bytes, linked, usedMs: usedMs ?? 0 };
}

/** The list of files in a content's folder of the pool. */
async function readFiles(path: string): Promise<readonly StoredFile[] | undefined> {
  try {
    return (JSON.parse(await readFile(join(path, MANIFEST_FILE), "utf8")) as { readonly files: readonly StoredFile[] }).files;
  } catch {
    return undefined; // Not there, or not whole: the same as not there.
  }
}

/** Whether files are there as they were checked. */
export async function areWhole(path: string, files: readonly StoredFile[]): Promise<boolean> {
  const whole = files.map(async (file) => isWhole(file, await stat(join(path, file.name)).catch(absent)));
  return (await Promise.all(whole)).every(Boolean);
}

/** File systems round times, to a second at most. */
const TIME_TOLERANCE_MS = 1_000;

export function isWhole(file: StoredFile, found: { readonly size: number; readonly mtimeMs: number } | undefined): boolean {
  if (found === undefined || found.size !== file.sizeBytes) return false;
  return file.mtimeMs === undefined || Math.abs(found.mtimeMs - file.mtimeMs) <= TIME_TOLERANCE_MS;
}

/** Stands for what a URL gives, as its source describes it now: the same for every adapter and pod. */
export function sourceKey(artifactUrl: string, fingerprint: string): string {
  return createHash("sha256")
    .update(JSON.stringify([artifactUrl, fingerprint]))
    .digest("hex");
}

function absent(error: unknown): undefined {
  if (isMissing(error)) return undefined;
  throw error;
}
