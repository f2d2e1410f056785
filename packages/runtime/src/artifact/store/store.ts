import { createHash, randomUUID } from "node:crypto";
import { chmod, copyFile, link, readdir, readFile, rename, rm, rmdir, stat, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Logger, sleep } from "@aibrix/service";
import pLimit from "p-limit";
import { messageOf } from "../../errors.ts";
import type { Metrics } from "../../metrics.ts";
import type { Downloaded } from "../transfer/download.ts";
import { FormerContents } from "./former.ts";
import {
  codeOf,
  HEX,
  hexOf,
  isMissing,
  isTaken,
  type Layout,
  layoutOf,
  MANIFEST_FILE,
  makeFolder,
  NO_LINKS,
  nameFolder,
  removeWhole,
  TEMPORARY,
  toDisk,
  writeReadable,
} from "./layout.ts";
import { Locks } from "./lock.ts";
import { type PartialFolder, PartialFolders, type PartialOf } from "./partial.ts";
import { Pods } from "./pods.ts";
import { areWhole, type CacheBounds, isWhole, Pool, type Pooled, type StoredFile, sourceKey } from "./pool.ts";

/** How often the cache is looked at, and others are shown that this pod lives, in milliseconds. */
const PERIOD_MS = 60_000;
/** Contents of an adapter that stay in the pool besides those that it has: as many as a ModelAdapter's `status.history` tells of. */
const FORMER_CONTENTS = 3;

/** What a content's folder holds, and where it came from. */
export interface ContentManifest {
  readonly artifact_url: string;
  /** Hash over what the source said of the files: the same once more is the same content, without reading it. */
  readonly source_fingerprint: string;
  readonly resolved_revision?: string;
  /** When this content was last what the URL gave, RFC 3339. */
  readonly fetched_at: string;
  readonly files: readonly StoredFile[];
}

export interface StoredContent {
  readonly path: string;
  readonly digest: string;
  readonly manifest: ContentManifest;
}

/** A content that an adapter has files of. */
export interface NamedContent {
  readonly name: string;
  readonly digest: string;
}

export interface StoreOptions {
  /** This pod's name in a volume that pods share; absent where the volume is this pod's alone. */
  readonly podFolder?: string | undefined;
  readonly bounds: CacheBounds;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/**
 * What an engine is given: `<dir>/<lora_name>/<digest in hex>/`, or `<dir>/pods/<pod>/<lora_name>/…` in a volume that pods share. Such a
 * folder holds links to the files of the pool, so that the same content is on the volume once, and no other adapter's or pod's sweep can
 * touch what this engine reads. It comes into being by a rename of a complete one, is never changed afterwards, and new content is a new
 * path: an engine's prefix cache is keyed by name and path, so that new weights at an old path would answer with wrong text.
 */
export class ArtifactStore {
  readonly dir: string;
  /** What the pod has for itself, its state among it. */
  readonly ownDir: string;
  readonly #layout: Layout;
  readonly #log: Logger;
  readonly #pool: Pool;
  readonly #pods: Pods;
  readonly #partials: PartialFolders;
  readonly #former: FormerContents;
  /** What is looked up under a name is not removed at the same time. */
  readonly #one = pLimit(1);
  #toldOfCopies = false;

  /** @param dir - absolute */
  constructor(dir: string, options: StoreOptions) {
    const { podFolder, bounds, metrics, log } = options;
    this.dir = dir;
    this.#layout = layoutOf(dir, podFolder);
    this.ownDir = this.#layout.own;
    this.#log = log;
    this.#pool = new Pool(this.#layout, bounds, {
      onUsage: ({ entries, bytes }) => {
        metrics.cacheEntries.set({ volume: dir }, entries);
        metrics.cacheBytes.set({ volume: dir }, bytes);
      },
      onEvicted: ({ id, bytes }) => {
        metrics.cacheEvictions.inc();
        metrics.cacheEvictedBytes.inc(bytes);
        log.info({ path: id, bytes }, "removed from the cache: it was the least recently used, and room is needed");
      },
    });
    this.#pods = new Pods(this.#layout, Date.now, () => performance.now());
    this.#partials = new PartialFolders(this.#layout, new Locks(this.#layout));
    this.#former = new FormerContents(this.#layout, FORMER_CONTENTS);
  }

  /** Makes the folders. Throws where they cannot be written, with what to do where they are another user's. */
  async open(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      throw (this.#layout.pod === "" ? undefined : await foreign(error)) ?? error;
    }
  }

  async #open(): Promise<void> {
    const { root, pods, pod, own, tmp, contents, sources, locks, partial, work, trash } = this.#layout;
    await makeFolder(root);
    if (pod !== "") await makeFolder(pods);
    await makeFolder(own);
    await makeFolder(join(root, ".cache"));
    for (const dir of [contents, sources, locks, partial, work, trash]) await makeFolder(dir);
    await makeFolder(tmp);
    const left = (await readdir(tmp)).filter((name) => TEMPORARY.test(name));
    await Promise.all(left.map((name) => removeWhole(this.#layout, join(tmp, name))));
    await this.#pods.beat();
  }

  /** Sweeps what is garbage, and keeps the cache within its bounds, until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#try("the cache cannot be swept", async () => {
      const { trash } = this.#layout;
      for (const name of (await readdir(trash)).filter((n) => TEMPORARY.test(n)))
        await rm(join(trash, name), { recursive: true, force: true });
      await this.#pool.sweepSources();
    });
    while (!signal.aborted) {
      await this.tend();
      await sleep(PERIOD_MS, signal);
    }
  }

  /** Shows the others that this pod lives, sweeps what dead ones left, and keeps the cache within its bounds: once. Never rejects. */
  async tend(): Promise<void> {
    await this.#try("the cache cannot be looked after", async () => {
      await this.#pods.beat();
      for (const pod of await this.#pods.sweep()) this.#log.info({ pod }, "this pod is gone for good: its folder is removed");
      await this.#partials.sweep(Date.now());
      await this.makeRoom(0);
    });
  }

  /** The folder where the download of a content grows, with what an earlier try left there. The caller releases or discards it. */
  async partial(of: PartialOf, signal: AbortSignal): Promise<PartialFolder> {
    return await this.#partials.take(of, signal);
  }

  /**
   * Removes what was least recently used where `neededBytes` more would pass the cache's bounds.
   *
   * @param neededBytes - what is still to be written, by all downloads that run; what they have written counts by itself
   */
  async makeRoom(neededBytes: number): Promise<void> {
    await this.#pool.makeRoom(neededBytes);
  }

  /** An empty folder for one download. Not `mkdtemp`: its mode 0700 would shut out an engine that runs as another user. */
  async newFolder(): Promise<string> {
    const path = join(this.#layout.tmp, randomUUID());
    await makeFolder(path);
    return path;
  }

  async discard(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }

  /** Moves a complete download into the pool, and gives the adapter links to it. Where the same content is there already, that one stays. */
  async install(name: string, folder: string, about: ContentManifest): Promise<StoredContent> {
    const files = await Promise.all(about.files.map(async (file) => await finished(folder, file)));
    const digest = contentDigest(files);
    const hex = hexOf(digest);
    const key = sourceKey(about.artifact_url, about.source_fingerprint);
    // Links first: what is linked is not evicted by another pod before this one has it.
    const own = await this.#linked({ path: folder, files });
    const pooled = await this.#pool.put(hex, folder, files);
    await this.#pool.setSource(key, hex);
    const staged = (pooled.files === files ? undefined : await this.#linkedIfThere(pooled)) ?? own;
    if (pooled.files !== files) await this.discard(folder);
    if (staged !== own) await this.discard(own);
    return await this.#place(name, staged, { ...about, files: staged === own ? files : pooled.files });
  }

  /** Whether something was fetched for a URL that is as its source describes it now. It may be gone a moment later. */
  async isPooled({ artifact_url, source_fingerprint }: Omit<ContentManifest, "files">): Promise<boolean> {
    return await this.#pool.has(sourceKey(artifact_url, source_fingerprint));
  }

  /** Gives an adapter links to what was fetched for another one or by another pod, where that is here. */
  async fromPool(name: string, about: Omit<ContentManifest, "files">): Promise<StoredContent | undefined> {
    const pooled = await this.#pool.find(sourceKey(about.artifact_url, about.source_fingerprint));
    if (pooled === undefined) return undefined;
    const staged = await this.#linkedIfThere(pooled);
    return staged === undefined ? undefined : await this.#place(name, staged, { ...about, files: pooled.files });
  }

  /** Gives an adapter links to a content that is on the volume, whoever brought it and from wherever; `undefined` where it is not there, or not whole. */
  async fromVolume(name: string, digest: string, about: Omit<ContentManifest, "files">): Promise<StoredContent | undefined> {
    const pooled = await this.#pool.get(hexOf(digest));
    const staged = pooled === undefined ? undefined : await this.#linkedIfThere(pooled);
    return pooled === undefined || staged === undefined ? undefined : await this.#place(name, staged, { ...about, files: pooled.files });
  }

  /** Gives a content of one name to another one, which came to the same by another way. */
  async share(name: string, { path, manifest }: StoredContent): Promise<StoredContent> {
    return await this.install(name, await this.#linked({ path, files: manifest.files }), manifest);
  }

  /** Contents under a name that came from `url`, the last fetched first, complete ones only. */
  async find(name: string, url: string): Promise<readonly StoredContent[]> {
    return await this.#one(async () => {
      const found: StoredContent[] = [];
      for (const hex of await this.#contentsOf(name)) {
        const content = await this.#read(name, hex);
        if (content?.manifest.artifact_url === url) found.push(content);
      }
      return found.sort((a, b) => b.manifest.fetched_at.localeCompare(a.manifest.fetched_at));
    });
  }

  /** A content of a name, wherever it came from; `undefined` where it is not here, or not whole. */
  async get(name: string, digest: string): Promise<StoredContent | undefined> {
    return await this.#one(() => this.#read(name, hexOf(digest)));
  }

  /** A content of any name, whole; `undefined` where no adapter of this pod has it. */
  async holding(digest: string): Promise<StoredContent | undefined> {
    const hex = hexOf(digest);
    for (const name of await this.#names()) {
      // A folder of somebody else's may have any name.
      const content = await this.get(name, hex).catch(() => undefined);
      if (content !== undefined) return content;
    }
    return undefined;
  }

  /** Whether every file of a content is where it should be, as it was checked. */
  async isComplete(name: string, digest: string): Promise<boolean> {
    return (await this.#read(name, hexOf(digest))) !== undefined;
  }

  /** The digest that a path of this store stands for, or `undefined` for any other path. */
  digestOf(name: string, path: string): string | undefined {
    const folder = `${nameFolder(this.#layout, name)}/`;
    const hex = path.startsWith(folder) ? path.slice(folder.length) : "";
    return HEX.test(hex) ? `sha256:${hex}` : undefined;
  }

  /** Notes that a content is still what its URL gives. */
  async touch(name: string, content: StoredContent, fetchedAt: string): Promise<void> {
    const manifest = { ...content.manifest, fetched_at: fetchedAt };
    await this.#replace(join(content.path, MANIFEST_FILE), JSON.stringify(manifest));
    await this.used(name, content.path);
  }

  /** Notes that a content is used now: it is the last one to be evicted. */
  async used(name: string, path: string): Promise<void> {
    const digest = this.digestOf(name, path);
    if (digest !== undefined) await this.#pool.used(hexOf(digest));
  }

  /**
   * Drops every content of a name, and those that it had before, from the pool too where no other pod or adapter has them. Only for names that
   * no living engine process can read.
   */
  async drop(name: string): Promise<void> {
    for (const hex of [...(await this.#contentsOf(name)), ...(await this.#former.of(name))]) {
      await this.#remove(name, hex);
      await this.#pool.drop(hex);
    }
    await this.#former.forget(name);
    await this.#removeIfEmpty(name);
  }

  /**
   * Drops the links of contents that nothing needs any more. What they led to stays in the pool until room is needed, of each name the last
   * {@link FORMER_CONTENTS}.
   *
   * @param isNeeded - asked for each content at the moment when it would go
   * @param only - contents of this name; of all where absent
   */
  async sweep(isNeeded: (name: string, digest: string) => boolean, only?: string): Promise<void> {
    for (const name of only === undefined ? await this.#names() : [only]) {
      // Oldest first: the last ones that are given up are those that stay in the pool.
      const hexes = await this.#byAge(name, await this.#contentsOf(name).catch(() => []));
      let isLess = false;
      for (const hex of hexes)
        await this.#one(async () => {
          const path = this.#path(name, hex);
          if (isNeeded(name, `sha256:${hex}`)) return;
          this.#log.info(
            { adapter: name, path },
            "no adapter needs this content any more, and no engine can read it: its links are dropped",
          );
          // Noted first: what is not noted goes only when room is needed. A volume without any has to be swept all the same.
          await this.#try("a content that is given up cannot be noted: it stays in the cache until room is needed", () =>
            this.#former.add(name, hex),
          );
          await this.#removeNow(name, hex);
          isLess = true;
        });
      const trim = () => this.#try("contents that an adapter had before cannot be dropped from the cache", () => this.#trim(name));
      if (isLess) await this.#one(trim);
      if (hexes.length > 0) await this.#removeIfEmpty(name);
    }
  }

  /** Every content that an adapter of this pod has files of, whole or not. */
  async contents(): Promise<readonly NamedContent[]> {
    const all: NamedContent[] = [];
    for (const name of await this.#names()) {
      const hexes = await this.#contentsOf(name).catch(() => []);
      all.push(...hexes.map((hex) => ({ name, digest: `sha256:${hex}` })));
    }
    return all;
  }

  /** Drops from the pool what a name had before its last former contents, unless another pod or adapter has it. */
  async #trim(name: string): Promise<void> {
    const held = await this.#contentsOf(name);
    await this.#former.trim(name, held, (hex) => this.#pool.drop(hex));
  }

  /** Contents of a name in the order in which their folders were made. */
  async #byAge(name: string, hexes: readonly string[]): Promise<readonly string[]> {
    const placed = async (hex: string) => (await stat(this.#path(name, hex)).catch(() => undefined))?.mtimeMs ?? 0;
    const all = await Promise.all(hexes.map(async (hex) => ({ hex, atMs: await placed(hex) })));
    return all.sort((a, b) => a.atMs - b.atMs).map(({ hex }) => hex);
  }

  async #names(): Promise<readonly string[]> {
    const entries = await readdir(this.ownDir, { withFileTypes: true });
    return entries.filter((e) => e.isDirectory() && !e.name.startsWith(".")).map((e) => e.name);
  }

  #path(name: string, hex: string): string {
    return join(nameFolder(this.#layout, name), hex);
  }

  async #contentsOf(name: string): Promise<readonly string[]> {
    return (await readdir(nameFolder(this.#layout, name)).catch(() => [])).filter((entry) => HEX.test(entry));
  }

  async #remove(name: string, hex: string): Promise<void> {
    await this.#one(() => this.#removeNow(name, hex));
  }

  async #removeNow(name: string, hex: string): Promise<void> {
    await removeWhole(this.#layout, this.#path(name, hex));
  }

  async #removeIfEmpty(name: string): Promise<void> {
    await rmdir(nameFolder(this.#layout, name)).catch(() => undefined); // Something of somebody else is in it.
  }

  async #read(name: string, hex: string): Promise<StoredContent | undefined> {
    const path = this.#path(name, hex);
    try {
      const manifest = JSON.parse(await readFile(join(path, MANIFEST_FILE), "utf8")) as ContentManifest;
      return (await areWhole(path, manifest.files)) ? { path, digest: `sha256:${hex}`, manifest } : undefined;
    } catch {
      return undefined; // Not there, or not whole: the same as not there.
    }
  }

  async #linkedIfThere(pooled: Pick<Pooled, "path" | "files">): Promise<string | undefined> {
    try {
      return await this.#linked(pooled);
    } catch (error) {
      if (isMissing(error)) return undefined; // Evicted meanwhile.
      throw error;
    }
  }

  /** A folder of links to files. Where the file system has none, of copies. */
  async #linked({ path, files }: Pick<Pooled, "path" | "files">): Promise<string> {
    const staged = await this.newFolder();
    try {
      for (const { name } of files) await this.#link(join(path, name), join(staged, name));
      return staged;
    } catch (error) {
      await this.discard(staged);
      throw error;
    }
  }

  async #link(from: string, to: string): Promise<void> {
    try {
      await link(from, to);
    } catch (error) {
      if (!NO_LINKS.includes(codeOf(error))) throw error;
      if (!this.#toldOfCopies)
        this.#log.warn(
          { volume: this.dir, code: codeOf(error) },
          "the volume has no hard links for this user: adapters get copies of their files, which take room twice",
        );
      this.#toldOfCopies = true;
      await copyFile(from, to);
      // The time tells a file that was checked from one that somebody wrote into.
      const { atime, mtime } = await stat(from);
      await utimes(to, atime, mtime);
      await toDisk(to);
    }
  }

  async #place(name: string, staged: string, manifest: ContentManifest): Promise<StoredContent> {
    const digest = contentDigest(manifest.files);
    const path = this.#path(name, hexOf(digest));
    await writeReadable(join(staged, MANIFEST_FILE), JSON.stringify(manifest));
    await this.#one(async () => {
      await makeFolder(nameFolder(this.#layout, name));
      try {
        await rename(staged, path);
      } catch (error) {
        if (!isTaken(error)) throw error;
        await this.#mend(staged, path, manifest);
      }
    });
    return { path, digest, manifest };
  }

  /** Somebody may have removed files of a content that an engine reads: each missing one is put back by itself. */
  async #mend(staged: string, path: string, manifest: ContentManifest): Promise<void> {
    for (const file of manifest.files) {
      const there = await stat(join(path, file.name)).catch(() => undefined);
      if (!isWhole(file, there)) await rename(join(staged, file.name), join(path, file.name));
    }
    await rename(join(staged, MANIFEST_FILE), join(path, MANIFEST_FILE));
    await this.discard(staged);
  }

  async #replace(path: string, text: string): Promise<void> {
    const temporary = join(this.#layout.tmp, randomUUID());
    await writeReadable(temporary, text);
    await rename(temporary, path);
  }

  async #try(message: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#log.warn({ volume: this.dir, error: messageOf(error) }, message);
    }
  }
}

/** What to do about a folder that another user made, or `undefined` for any other error. */
async function foreign(error: unknown): Promise<Error | undefined> {
  const { code, path } = error as NodeJS.ErrnoException;
  if ((code !== "EACCES" && code !== "EPERM") || path === undefined) return undefined;
  const made = [path, dirname(path)].map((folder) => stat(folder).catch(() => undefined));
  const there = (await Promise.all(made)).find((found) => found !== undefined);
  const user = process.geteuid?.();
  if (there === undefined || there.uid === user) return undefined;
  return new Error(
    `${path} cannot be made or written by user ${user}, for its folder belongs to user ${there.uid}: pods that share a volume must run as one user, so give all of them the same securityContext.runAsUser (and, where the volume is no hostPath, the same fsGroup), or this one a volume of its own`,
    { cause: error },
  );
}

/** A file as it is from now on: everybody may read it, and it outlives the machine's power. */
async function finished(folder: string, file: Downloaded): Promise<StoredFile> {
  if (file.name !== basename(file.name) || [".", "..", MANIFEST_FILE].includes(file.name))
    throw new Error(`"${file.name}" cannot be a file of an adapter`);
  const path = join(folder, file.name);
  await chmod(path, 0o644);
  await toDisk(path);
  const { name, sizeBytes, sha256 } = file;
  return { name, sizeBytes, sha256, mtimeMs: (await stat(path)).mtimeMs };
}

/** `sha256:` and the hash over names, sizes and hashes of the files, in order of their names. */
export function contentDigest(files: readonly Downloaded[]): string {
  const lines = files.map((f) => `${f.name}\0${f.sizeBytes}\0${f.sha256}\n`).sort();
  return `sha256:${createHash("sha256").update(lines.join("")).digest("hex")}`;
}
