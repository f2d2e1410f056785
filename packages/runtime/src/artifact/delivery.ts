import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type DeliveryRequest, parseArtifactUrl } from "@aibrix/api";
import type { Logger } from "@aibrix/service";
import { AdapterError, messageOf } from "../errors.ts";
import { type ArtifactDeps, type Artifacts, type Content, type Delivery, RemoteArtifacts, type Wanted } from "./artifacts.ts";
import type { AdapterFacts } from "./check/adapter.ts";
import type { ArtifactStore, NamedContent, StoredContent } from "./store/store.ts";
import type { Progress } from "./transfer/meter.ts";

/**
 * Reads the `delivery` of a load call.
 *
 * @throws AdapterError for one that lacks a folder, or for an artifact that the engine cannot read itself
 */
export function readDelivery(request: DeliveryRequest | undefined, artifactUrl: string): Delivery | undefined {
  if (request === undefined) return undefined;
  if (request.mode === "engine") {
    const source = parseArtifactUrl(artifactUrl);
    const isReadable = source.kind === "path" || (source.kind === "huggingface" && source.revision === undefined && source.path === "");
    if (!isReadable || source.sha256 !== undefined)
      throw new AdapterError(
        "InvalidArtifactURL",
        `the engine cannot read ${artifactUrl} itself: give delivery.mode volume and a folder that both containers see, or a whole huggingface:// repository without a revision or a pin`,
      );
    return { mode: "engine" };
  }
  const { runtime_dir: runtimeDir, engine_dir: engineDir } = request;
  if (runtimeDir === undefined || engineDir === undefined)
    throw new AdapterError(
      "InvalidArtifactURL",
      "delivery.mode volume needs runtime_dir and engine_dir: the shared folder as each container sees it",
    );
  return { mode: "volume", runtimeDir: trimmed(runtimeDir), engineDir: trimmed(engineDir) };
}

function trimmed(dir: string): string {
  return dir.replace(/\/+$/, "") || "/";
}

/** A folder that adapters are kept in. */
interface Folder {
  readonly store: ArtifactStore;
  readonly artifacts: RemoteArtifacts;
  /** Ends when the runtime does. */
  readonly running: Promise<void>;
}

/** Its store is the folder of the runtime's own settings, open. */
export interface DeliveredDeps extends ArtifactDeps {
  /** The store of any other folder. */
  readonly storeIn: (dir: string) => ArtifactStore;
  /** Remembers a folder that a load call named, for {@link DeliveredArtifacts.reopen}. Called before anything is in it. */
  readonly onFolder: (dir: string) => Promise<void>;
  /** Is told of what is in a folder, before anything of it can be swept: an engine may be reading it. */
  readonly onFound: (contents: readonly NamedContent[]) => Promise<void>;
  readonly log: Logger;
}

/** Artifacts in every folder that a load call named, besides the one that the runtime was started with. */
export class DeliveredArtifacts implements Artifacts {
  readonly #deps: DeliveredDeps;
  readonly #folders = new Map<string, Promise<Folder>>();
  readonly #default: string;
  readonly #closed = new AbortController();

  constructor(deps: DeliveredDeps) {
    this.#deps = deps;
    this.#default = deps.store.dir;
    this.#openSoon(deps.store.dir, this.#start(deps.store));
  }

  /** Opens the folders that an earlier process was told of, without waiting for them: engines may be reading there. */
  reopen(dirs: readonly string[]): void {
    for (const dir of dirs) if (!this.#folders.has(dir)) this.#openSoon(dir, this.#reopened(dir));
  }

  #openSoon(dir: string, opening: Promise<Folder>): void {
    this.#opening(dir, opening).catch((error: unknown) =>
      this.#deps.log.warn(
        { folder: dir, error: messageOf(error) },
        "a folder of adapters cannot be looked after: it is opened again once an adapter is to be put there",
      ),
    );
  }

  /** Ends what runs, and waits until every download has given back its place. */
  async close(): Promise<void> {
    this.#closed.abort();
    for (const { artifacts, running } of await this.#opened()) {
      await artifacts.close();
      await running;
    }
  }

  async obtain(wanted: Wanted, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<Content> {
    const { delivery } = wanted;
    if (delivery?.mode === "engine") return { path: engineName(wanted.url), digest: "" };
    const dir = delivery?.runtimeDir ?? this.#default;
    const { artifacts, store } = await this.#folder(dir);
    const content = await artifacts.obtain(wanted, onProgress, signal);
    if (delivery === undefined || store.digestOf(wanted.name, content.path) === undefined) return content;
    return { ...content, path: join(delivery.engineDir, content.path.slice(dir.length)), local: content.path };
  }

  async isComplete(name: string, content: Content): Promise<boolean> {
    if (content.digest === "") return true; // The engine's own affair.
    const path = content.local ?? content.path;
    return await (await this.#folderOf(name, path)).artifacts.isComplete(name, { ...content, path });
  }

  async used(name: string, content: Content): Promise<void> {
    const path = content.local ?? content.path;
    await (await this.#folderOf(name, path)).artifacts.used(name, { ...content, path });
  }

  async inspect(content: Content, signal: AbortSignal): Promise<AdapterFacts | undefined> {
    if (content.digest === "") return undefined; // The engine's own affair.
    return await (await this.#folder(this.#default)).artifacts.inspect(content, signal);
  }

  /** A content that an adapter of this pod has, whole, in any folder; `undefined` where none has it. */
  async holding(digest: string): Promise<StoredContent | undefined> {
    for (const { store } of await this.#opened()) {
      const content = await store.holding(digest);
      if (content !== undefined) return content;
    }
    return undefined;
  }

  /** Drops every content of a name, in every folder. Only for names that no living engine process can read. */
  async drop(name: string): Promise<void> {
    for (const { store } of await this.#opened()) await store.drop(name);
  }

  /** Drops what nothing needs any more, in every folder. See {@link ArtifactStore.sweep}. */
  async sweep(isNeeded: (name: string, digest: string) => boolean, only?: string): Promise<void> {
    for (const { store } of await this.#opened()) await store.sweep(isNeeded, only);
  }

  async #opened(): Promise<readonly Folder[]> {
    const folders = await Promise.all([...this.#folders.values()].map((folder) => folder.catch(() => undefined)));
    return folders.filter((folder) => folder !== undefined);
  }

  async #folderOf(name: string, path: string): Promise<Folder> {
    const all = await this.#opened();
    return all.find(({ store }) => store.digestOf(name, path) !== undefined) ?? (await this.#folder(this.#default));
  }

  async #start(store: ArtifactStore): Promise<Folder> {
    const { onFound } = this.#deps;
    await onFound(await store.contents());
    return { store, artifacts: new RemoteArtifacts({ ...this.#deps, store }), running: store.run(this.#closed.signal) };
  }

  async #reopened(dir: string): Promise<Folder> {
    await stat(dir); // A volume that is not mounted any more is not made anew.
    return await this.#open(dir);
  }

  async #open(dir: string): Promise<Folder> {
    const store = this.#deps.storeIn(dir);
    await store.open();
    return await this.#start(store);
  }

  async #opening(dir: string, opening: Promise<Folder>): Promise<Folder> {
    this.#folders.set(dir, opening);
    try {
      return await opening;
    } catch (error) {
      this.#folders.delete(dir);
      throw error;
    }
  }

  async #folder(dir: string): Promise<Folder> {
    const known = this.#folders.get(dir);
    if (known !== undefined) return await known;
    await this.#deps.onFolder(dir);
    try {
      return await (this.#folders.get(dir) ?? this.#opening(dir, this.#open(dir)));
    } catch (error) {
      throw new AdapterError(
        "ArtifactUnavailable",
        `the shared folder ${dir} cannot be used (${messageOf(error)}): mount a volume there that the sidecar's user may write to; it is tried again`,
      );
    }
  }
}

/** What vLLM is given to read an artifact itself: the Hub's repository, or the path. */
function engineName(url: string): string {
  const source = parseArtifactUrl(url);
  return source.kind === "huggingface" ? source.repo : source.kind === "path" ? source.path : url;
}
