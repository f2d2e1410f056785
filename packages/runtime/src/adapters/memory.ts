import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ContentRef } from "@aibrix/api";
import type { Logger } from "@aibrix/service";
import pLimit from "p-limit";
import type { Delivery } from "../artifact/artifacts.ts";
import type { NamedContent } from "../artifact/store/store.ts";
import { messageOf } from "../errors.ts";
import type { Limits, Origin } from "./declaration.ts";

/** What a restart of the runtime must not forget. It never holds a key or a credential. */
interface State {
  readonly version: 1;
  /** What the API declared. Manifests are not here: their folder is the memory. */
  declared: RememberedDeclaration[];
  /** What we put, or were about to put, into the engine: the only things in it that we may take out. */
  loaded: LoadedPath[];
  /** What was given to an engine's process, whatever became of it: vLLM may read such files again as long as that process lives. */
  readable: Readable[];
  /** Names whose files go once the engine's process that could read them is gone. */
  cleanup: Cleanup[];
  /** Folders besides the runtime's own that adapters were kept in. */
  folders: string[];
  /** Whether the pod was ready once. Absent in what earlier versions wrote down. */
  was_ready?: boolean | undefined;
}

export interface RememberedDeclaration {
  readonly lora_name: string;
  readonly artifact_url: string;
  readonly needs_api_key: boolean;
  readonly delivery?: Delivery | undefined;
  readonly limits?: Limits | undefined;
  readonly owner?: string | undefined;
  readonly probe?: "auto" | "off" | undefined;
  readonly content?: ContentRef | undefined;
}

/** Whether the engine answered a request under a name since it was loaded there first. `pending`: not yet; `off`: it was not to be asked. */
export type Probed = "served" | "notNeeded" | "off" | "pending";

export interface LoadedPath {
  readonly lora_name: string;
  readonly path: string;
  readonly content_digest: string;
  /** Absent for what took the place of content that served, and for what was loaded before there were probes: it serves. */
  readonly probed?: Probed | undefined;
  /** The engine was about to be given it in place of what served: it is not known to have served. */
  readonly loading?: true | undefined;
  /** Who declared it last. Absent in what earlier versions wrote down. */
  readonly origin?: Origin | undefined;
  readonly owner?: string | undefined;
}

/** Whose something in the engine is, also once its declaration is gone. */
export type Whose = Pick<LoadedPath, "origin" | "owner">;

interface Readable {
  readonly lora_name: string;
  readonly content_digest: string;
  /** Process of the engine; null where it was not known for sure. */
  readonly boot_id: string | null;
}

interface Cleanup {
  readonly lora_name: string;
  /** Process of the engine that may still read the files; null where it was not known for sure. */
  readonly boot_id: string | null;
}

/** `<artifacts-dir>/.state/declared.json`, replaced as a whole at every change. */
export class Memory {
  readonly #dir: string;
  readonly #log: Logger;
  readonly #one = pLimit(1);
  #state: State = { version: 1, declared: [], loaded: [], readable: [], cleanup: [], folders: [] };
  /** The save that has not begun yet. */
  #next: Promise<unknown> | undefined;
  #saved = "";
  /** Names of the declarations that a restart would find. */
  #onDisk: ReadonlySet<string> = new Set();

  constructor(artifactsDir: string, log: Logger) {
    this.#dir = join(artifactsDir, ".state");
    this.#log = log;
  }

  /**
   * Reads what was remembered. A file that cannot be understood is put aside: starting empty beats not starting.
   *
   * @throws where the file is there and cannot be read: the next change would replace what it holds
   */
  async open(): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw new Error(
        `${this.#path} cannot be read, ${messageOf(error)}: see to the volume and the file's owner, or move the file away to forget what was declared`,
        { cause: error },
      );
    });
    if (text === undefined) return;
    try {
      this.#state = check(JSON.parse(text));
      this.#saved = text;
      this.#onDisk = namesOf(this.#state.declared);
    } catch (error) {
      this.#log.error(
        { path: this.#path, error: messageOf(error) },
        "the remembered declarations cannot be read: the file is put aside as declared.json.bad",
      );
      await rename(this.#path, `${this.#path}.bad`);
    }
  }

  get declared(): readonly RememberedDeclaration[] {
    return this.#state.declared;
  }

  get loaded(): readonly LoadedPath[] {
    return this.#state.loaded;
  }

  /** Folders besides the runtime's own that adapters were kept in, as each was named. */
  get folders(): readonly string[] {
    return this.#state.folders;
  }

  /** Whether the pod of this volume was ready once. */
  get wasReady(): boolean {
    return this.#state.was_ready === true;
  }

  async setReady(): Promise<void> {
    this.#state.was_ready = true;
    await this.#save();
  }

  /** @returns why it is not written down, or `undefined` where it is */
  async declare(declaration: RememberedDeclaration): Promise<unknown> {
    this.#state.declared = [...without(this.#state.declared, declaration.lora_name), declaration];
    return await this.#save();
  }

  async addFolder(dir: string): Promise<void> {
    if (!this.#state.folders.includes(dir)) this.#state.folders.push(dir);
    await this.#save();
  }

  /**
   * Notes contents that are there: of those that nobody knows anything of, the engine that runs may have been given any, by a runtime whose
   * memory is lost. They count as readable until another process of it runs.
   */
  async adopt(found: readonly NamedContent[]): Promise<void> {
    for (const { name, digest } of found) if (!this.isReadable(name, digest)) this.#addReadable(name, digest, null);
    await this.#save();
  }

  /** @returns why a restart would still find the declaration, or `undefined` where it would not */
  async forgetDeclaration(name: string): Promise<unknown> {
    this.#state.declared = without(this.#state.declared, name);
    const unsaved = await this.#save();
    return this.isOnDisk(name) ? unsaved : undefined;
  }

  /** Whether a restart would find a declaration of this name, also where it has been forgotten since. */
  isOnDisk(name: string): boolean {
    return this.#onDisk.has(name);
  }

  /**
   * Replaces the paths that we loaded under a name; called before a load, so that a crash in the middle of it is no secret. A name keeps its
   * place among the others, whose order is that of their last use; a new one is the last.
   *
   * @param bootId - process of the engine that gets them, where that is known for sure
   * @param probed - by path
   * @param whose - who has declared it
   * @param loading - the path of which the engine is about to be given in place of what served
   */
  async setLoaded(
    name: string,
    paths: ReadonlyMap<string, string>,
    bootId: string | undefined,
    probed: ReadonlyMap<string, Probed> = new Map(),
    { origin, owner }: Whose = {},
    loading?: string,
  ): Promise<void> {
    const rows = [...paths].map(([path, content_digest]) => ({
      lora_name: name,
      path,
      content_digest,
      probed: probed.get(path),
      loading: path === loading ? (true as const) : undefined,
      origin,
      owner,
    }));
    const at = this.#state.loaded.findIndex((l) => l.lora_name === name);
    const others = without(this.#state.loaded, name);
    this.#state.loaded = at < 0 ? [...others, ...rows] : [...others.slice(0, at), ...rows, ...others.slice(at)];
    for (const { content_digest } of rows) this.#addReadable(name, content_digest, bootId ?? null);
    await this.#save();
  }

  /** Notes who declares now what was loaded under a name. Written down with the next change. */
  declaredBy(name: string, { origin, owner }: Whose): void {
    this.#state.loaded = this.#state.loaded.map((l) => (l.lora_name === name ? { ...l, origin, owner } : l));
  }

  /** Notes that adapters are in use. Written down with the next change, or by {@link flush}. */
  used(names: ReadonlySet<string>): void {
    const isUsed = (l: LoadedPath) => names.has(l.lora_name);
    this.#state.loaded = [...this.#state.loaded.filter((l) => !isUsed(l)), ...this.#state.loaded.filter(isUsed)];
  }

  async flush(): Promise<void> {
    await this.#save();
  }

  /** Names that were loaded, the most recently used first. */
  byLastUse(): readonly string[] {
    return [...new Set(this.#state.loaded.map((l) => l.lora_name).reverse())];
  }

  /** Whether an engine's process that may still live was given this content under this name. */
  isReadable(name: string, digest: string): boolean {
    const isIt = (row: LoadedPath | Readable) => row.lora_name === name && row.content_digest === digest;
    return this.#state.loaded.some(isIt) || this.#state.readable.some(isIt);
  }

  /** Contents that an engine's process may read under a name, besides what is loaded under it. */
  superseded(name: string): readonly string[] {
    const loaded = this.#state.loaded.filter((l) => l.lora_name === name).map((l) => l.content_digest);
    const digests = this.#state.readable.filter((r) => r.lora_name === name).map((r) => r.content_digest);
    return [...new Set(digests)].filter((digest) => !loaded.includes(digest));
  }

  /** Notes that the engine's process cannot read these contents of a name any more, unless they are loaded. */
  async release(name: string, digests: readonly string[]): Promise<void> {
    const isLoaded = (digest: string) => this.#state.loaded.some((l) => l.lora_name === name && l.content_digest === digest);
    this.#state.readable = this.#state.readable.filter(
      (r) => r.lora_name !== name || !digests.includes(r.content_digest) || isLoaded(r.content_digest),
    );
    await this.#save();
  }

  async addCleanup(name: string, bootId: string | undefined): Promise<void> {
    this.#state.cleanup = [...without(this.#state.cleanup, name), { lora_name: name, boot_id: bootId ?? null }];
    await this.#save();
  }

  async cancelCleanup(name: string): Promise<void> {
    this.#state.cleanup = without(this.#state.cleanup, name);
    await this.#save();
  }

  /** Notes that an engine's process gets a content under another name than that of the adapter that it is of. */
  async addReadable(name: string, digest: string, bootId: string | undefined): Promise<void> {
    this.#addReadable(name, digest, bootId ?? null);
    await this.#save();
  }

  /**
   * Names whose files no engine process can read any more, given the one that runs now. What another process was given is no longer
   * {@link isReadable} after it, except what is loaded now: this process may have been given that before it was seen to be another.
   */
  async dueCleanups(bootId: string): Promise<readonly string[]> {
    this.#state.readable = this.#state.readable
      .filter((r) => r.boot_id === null || r.boot_id === bootId)
      .map((r) => ({ ...r, boot_id: bootId }));
    for (const { lora_name, content_digest } of this.#state.loaded) this.#addReadable(lora_name, content_digest, bootId);
    const due = this.#state.cleanup
      .filter((c) => c.boot_id !== null && c.boot_id !== bootId && !this.#state.readable.some((r) => r.lora_name === c.lora_name))
      .map((c) => c.lora_name);
    // One that was not known when the files were given up may be this very process, which may also have been given files since: it must go first.
    this.#state.cleanup = this.#state.cleanup.filter((c) => !due.includes(c.lora_name)).map((c) => ({ ...c, boot_id: bootId }));
    await this.#save();
    return due;
  }

  #addReadable(lora_name: string, content_digest: string, boot_id: string | null): void {
    const { readable } = this.#state;
    if (content_digest === "") return; // Files of the engine's own.
    if (!readable.some((r) => r.lora_name === lora_name && r.content_digest === content_digest && r.boot_id === boot_id))
      readable.push({ lora_name, content_digest, boot_id });
  }

  get #path(): string {
    return join(this.#dir, "declared.json");
  }

  /** @returns why the state is not written down, or `undefined` where it is */
  async #save(): Promise<unknown> {
    // One that waits for its turn writes down what was changed until then: many changes at once are few writes.
    this.#next ??= this.#one(async () => {
      this.#next = undefined;
      const text = JSON.stringify(this.#state, null, 1);
      const names = namesOf(this.#state.declared);
      if (text === this.#saved) return undefined;
      try {
        // On the disk before the rename is: a crash of the machine must leave the old state or the new one, not an empty file.
        await writeFile(`${this.#path}.new`, text, { flush: true });
        await rename(`${this.#path}.new`, this.#path);
        this.#saved = text;
        this.#onDisk = names;
        return undefined;
      } catch (error) {
        // The adapters go on being served; what is lost is a restart's knowledge, and the next change tries again.
        this.#log.error({ path: this.#path, error: messageOf(error) }, "the declarations cannot be written down: make room on the volume");
        return error;
      }
    });
    return await this.#next;
  }
}

function without<T extends { readonly lora_name: string }>(rows: readonly T[], name: string): T[] {
  return rows.filter((r) => r.lora_name !== name);
}

function namesOf(rows: readonly RememberedDeclaration[]): ReadonlySet<string> {
  return new Set(rows.map((r) => r.lora_name));
}

function check(value: unknown): State {
  const { version, declared, loaded, readable = [], cleanup, folders = [], was_ready } = (value ?? {}) as Partial<State>;
  if (version !== 1 || ![declared, loaded, readable, cleanup, folders].every(Array.isArray)) throw new Error("it is not of version 1");
  return { version, declared, loaded, readable, cleanup, folders, was_ready } as State;
}
