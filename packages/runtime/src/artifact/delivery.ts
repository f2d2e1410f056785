import { join } from "node:path";
import { type DeliveryRequest, parseArtifactUrl } from "@aibrix/api";
import { AdapterError, messageOf } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { type Artifacts, type Content, type Delivery, RemoteArtifacts, type Wanted } from "./artifacts.ts";
import type { AdapterFacts } from "./check/adapter.ts";
import { ArtifactStore } from "./store/store.ts";

/**
 * Reads the `delivery` of a load call.
 *
 * @throws AdapterError for one that lacks a folder, or for an artifact that the engine cannot read itself
 */
export function readDelivery(request: DeliveryRequest | undefined, artifactUrl: string): Delivery | undefined {
  if (request === undefined) return undefined;
  if (request.mode === "engine") {
    const source = parseArtifactUrl(artifactUrl);
    if (source.kind === "s3" || (source.kind === "huggingface" && source.revision !== undefined))
      throw new AdapterError(
        "InvalidArtifactURL",
        `the engine cannot read ${artifactUrl} itself: give delivery.mode volume and a folder that both containers see, or a huggingface:// artifact without a revision`,
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

/** Artifacts in every folder that a load call named, besides the one that the runtime was started with. */
export class DeliveredArtifacts implements Artifacts {
  readonly #open: (dir: string) => Promise<RemoteArtifacts>;
  readonly #folders = new Map<string, Promise<{ readonly artifacts: RemoteArtifacts; readonly store: ArtifactStore }>>();
  readonly #default: string;

  /** @param store - the folder of the runtime's own settings, open */
  constructor(deps: { readonly store: ArtifactStore; readonly env: NodeJS.ProcessEnv; readonly metrics: Metrics }) {
    this.#default = deps.store.dir;
    this.#folders.set(deps.store.dir, Promise.resolve({ store: deps.store, artifacts: new RemoteArtifacts(deps) }));
    this.#open = async (dir) => (await this.#folder(dir, deps)).artifacts;
  }

  async close(): Promise<void> {
    for (const folder of this.#folders.values()) await (await folder.catch(() => undefined))?.artifacts.close();
  }

  async obtain(wanted: Wanted, onProgress: (bytes: number, totalBytes: number) => void, signal: AbortSignal): Promise<Content> {
    const { delivery } = wanted;
    if (delivery?.mode === "engine") return { path: engineName(wanted.url), digest: "" };
    const dir = delivery?.runtimeDir ?? this.#default;
    const content = await (await this.#open(dir)).obtain(wanted, onProgress, signal);
    if (delivery === undefined || !content.path.startsWith(join(dir, wanted.name))) return content;
    return { ...content, path: join(delivery.engineDir, content.path.slice(dir.length)), local: content.path };
  }

  async isComplete(name: string, content: Content): Promise<boolean> {
    if (content.digest === "") return true; // The engine's own affair.
    const here = content.local ?? content.path;
    const dir = [...this.#folders.keys()].find((d) => here.startsWith(join(d, name)));
    return await (await this.#open(dir ?? this.#default)).isComplete(name, { ...content, path: here });
  }

  async inspect(content: Content, signal: AbortSignal): Promise<AdapterFacts | undefined> {
    if (content.digest === "") return undefined; // The engine's own affair.
    return await (await this.#open(this.#default)).inspect(content, signal);
  }

  /** Drops every content of a name, in every folder. Only for names that no living engine process can read. */
  async drop(name: string): Promise<void> {
    for (const folder of this.#folders.values()) await (await folder.catch(() => undefined))?.store.drop(name);
  }

  async #folder(dir: string, deps: { readonly env: NodeJS.ProcessEnv; readonly metrics: Metrics }) {
    const known = this.#folders.get(dir);
    if (known !== undefined) return await known;
    const opening = (async () => {
      const store = new ArtifactStore(dir);
      await store.open();
      return { store, artifacts: new RemoteArtifacts({ ...deps, store }) };
    })();
    this.#folders.set(dir, opening);
    try {
      return await opening;
    } catch (error) {
      this.#folders.delete(dir);
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
