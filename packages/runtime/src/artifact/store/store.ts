import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Downloaded } from "../transfer/download.ts";
import { type PartialFolder, PartialFolders, type PartialOf } from "./partial.ts";

/** Name of the list of files inside a content's folder. Engines ignore it. */
const MANIFEST_FILE = ".aibrix-manifest.json";

/** What a content's folder holds, and where it came from. */
export interface ContentManifest {
  readonly artifact_url: string;
  /** Hash over what the source said of the files: the same once more is the same content, without reading it. */
  readonly source_fingerprint: string;
  readonly resolved_revision?: string;
  /** When this content was last what the URL gave, RFC 3339. */
  readonly fetched_at: string;
  readonly files: readonly Downloaded[];
}

export interface StoredContent {
  readonly path: string;
  readonly digest: string;
  readonly manifest: ContentManifest;
}

/**
 * Content-addressed folders: `<dir>/<lora_name>/<digest in hex>/`. A folder comes into being by a rename of a complete one,
 * is never changed afterwards, and new content is a new path: an engine's prefix cache is keyed by name and path, so that new weights
 * at an old path would answer with wrong text.
 */
export class ArtifactStore {
  readonly dir: string;
  readonly #tmp: string;
  readonly #partials: PartialFolders;

  /** @param dir - absolute */
  constructor(dir: string) {
    this.dir = dir;
    this.#tmp = join(dir, ".tmp");
    this.#partials = new PartialFolders(join(dir, ".partial"));
  }

  /** Makes the folder and sweeps what a killed runtime left half done. Throws where the folder cannot be written. */
  async open(): Promise<void> {
    await rm(this.#tmp, { recursive: true, force: true });
    await mkdir(this.#tmp, { recursive: true });
    await this.#partials.sweep(Date.now());
  }

  /** The folder where the download of a content grows, with what an earlier try left there. The caller releases or discards it. */
  async partial(of: PartialOf, signal: AbortSignal): Promise<PartialFolder> {
    return await this.#partials.take(of, signal);
  }

  /** An empty folder for one download. Not `mkdtemp`: its mode 0700 would shut out an engine that runs as another user. */
  async newFolder(): Promise<string> {
    const path = join(this.#tmp, randomUUID());
    await mkdir(path, { recursive: true });
    return path;
  }

  async discard(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }

  /** Moves a complete download to its place. Where the same content is there already, that one stays. */
  async install(name: string, folder: string, manifest: ContentManifest): Promise<StoredContent> {
    const digest = contentDigest(manifest.files);
    const path = this.#path(name, digest);
    await writeFile(join(folder, MANIFEST_FILE), JSON.stringify(manifest));
    await mkdir(join(this.dir, name), { recursive: true });
    try {
      await rename(folder, path);
    } catch (error) {
      if (!["ENOTEMPTY", "EEXIST"].includes(String((error as NodeJS.ErrnoException).code))) throw error;
      await this.#mend(folder, path, manifest);
    }
    return { path, digest, manifest };
  }

  /** Contents under a name that came from `url`, the last fetched first, complete ones only. */
  async find(name: string, url: string): Promise<readonly StoredContent[]> {
    const found: StoredContent[] = [];
    for (const hex of await readdir(join(this.dir, name)).catch(() => [])) {
      const content = await this.#read(name, `sha256:${hex}`);
      if (content?.manifest.artifact_url === url) found.push(content);
    }
    return found.sort((a, b) => b.manifest.fetched_at.localeCompare(a.manifest.fetched_at));
  }

  /** Whether every file of a content is where it should be, with its size. */
  async isComplete(name: string, digest: string): Promise<boolean> {
    return (await this.#read(name, digest)) !== undefined;
  }

  /** The digest that a path of this store stands for, or `undefined` for any other path. */
  digestOf(name: string, path: string): string | undefined {
    const hex = path.startsWith(`${join(this.dir, name)}/`) ? path.slice(join(this.dir, name).length + 1) : "";
    return /^[0-9a-f]{64}$/.test(hex) ? `sha256:${hex}` : undefined;
  }

  /** Notes that a content is still what its URL gives. */
  async touch(name: string, content: StoredContent, fetchedAt: string): Promise<void> {
    const manifest = { ...content.manifest, fetched_at: fetchedAt };
    await this.#replace(join(this.#path(name, content.digest), MANIFEST_FILE), JSON.stringify(manifest));
  }

  /** Drops every content of a name. Only for names that no living engine process can read. */
  async drop(name: string): Promise<void> {
    await rm(join(this.dir, name), { recursive: true, force: true });
  }

  #path(name: string, digest: string): string {
    return join(this.dir, name, digest.slice("sha256:".length));
  }

  async #read(name: string, digest: string): Promise<StoredContent | undefined> {
    const path = this.#path(name, digest);
    try {
      const manifest = JSON.parse(await readFile(join(path, MANIFEST_FILE), "utf8")) as ContentManifest;
      for (const file of manifest.files) if ((await stat(join(path, file.name))).size !== file.sizeBytes) return undefined;
      return { path, digest, manifest };
    } catch {
      return undefined; // Not there, or not whole: the same as not there.
    }
  }

  /** Somebody may have removed files of a content that an engine reads: each missing one is put back by itself. */
  async #mend(folder: string, path: string, manifest: ContentManifest): Promise<void> {
    for (const file of manifest.files) {
      const there = await stat(join(path, file.name)).catch(() => undefined);
      if (there?.size !== file.sizeBytes) await rename(join(folder, file.name), join(path, file.name));
    }
    await rename(join(folder, MANIFEST_FILE), join(path, MANIFEST_FILE));
    await this.discard(folder);
  }

  async #replace(path: string, text: string): Promise<void> {
    const temporary = join(this.#tmp, randomUUID());
    await writeFile(temporary, text);
    await rename(temporary, path);
  }
}

/** `sha256:` and the hash over names, sizes and hashes of the files, in order of their names. */
export function contentDigest(files: readonly Downloaded[]): string {
  const lines = files.map((f) => `${f.name}\0${f.sizeBytes}\0${f.sha256}\n`).sort();
  return `sha256:${createHash("sha256").update(lines.join("")).digest("hex")}`;
}
