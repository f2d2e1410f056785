import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { HubOptions } from "./options.ts";

/** Files of a repository that an adapter needs. */
const ADAPTER_FILES: ReadonlySet<string> = new Set(["adapter_config.json", "adapter_model.safetensors"]);
const REQUEST_TIMEOUT_MS = 60_000;
/** What huggingface_hub accepts as the name of a repository (`validate_repo_id`). */
const REPOSITORY = /^(?:[\w.-]{1,96}\/)?[\w.-]{1,96}$/;

/** Fetches adapters from a Hugging Face hub into a cache, as the engine itself does with a `lora_path` of the form org/name. */
export class HubCache {
  readonly #options: HubOptions;
  #folder: Promise<string> | undefined;
  #temporary: string | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /**
   * Directory of an adapter. Only a path that is neither absolute nor there is looked for on the hub;
   * whatever goes wrong then, the path itself comes back and nothing is found under it, as in vLLM.
   */
  async locate(loraPath: string, signal: AbortSignal): Promise<string> {
    if (loraPath.startsWith("/")) return loraPath;
    if (loraPath.startsWith("~")) return join(homedir(), loraPath.slice(1));
    const local = resolve(loraPath);
    if (await stat(local).catch(() => undefined)) return local;
    if (!REPOSITORY.test(loraPath) || loraPath.includes("--") || loraPath.includes("..")) return local;
    return await this.#snapshot(loraPath, signal).catch(() => local);
  }

  /** Removes the cache if it is a temporary one. */
  async close(): Promise<void> {
    if (this.#temporary !== undefined) await rm(this.#temporary, { recursive: true, force: true });
  }

  async #cache(): Promise<string> {
    if (this.#options.home !== undefined) return join(this.#options.home, "hub");
    this.#temporary = await mkdtemp(join(tmpdir(), "mock-engine-hub-"));
    return this.#temporary;
  }

  async #snapshot(id: string, signal: AbortSignal): Promise<string> {
    this.#folder ??= this.#cache();
    const repository = join(await this.#folder, `models--${id.replaceAll("/", "--")}`);
    const ref = join(repository, "refs", "main");
    const commit = await this.#commit(id, ref, signal);
    const snapshot = join(repository, "snapshots", commit);
    if (await stat(join(snapshot, "adapter_config.json")).catch(() => undefined)) return snapshot;
    const tree = (await this.#get(`api/models/${id}/tree/${commit}?recursive=true&expand=false`, signal).then((r) => r.json())) as {
      type?: string;
      path?: string;
    }[];
    // The configuration comes last: it is what tells a complete snapshot.
    const files = tree.filter(({ type, path }) => type === "file" && ADAPTER_FILES.has(path ?? "")).map(({ path }) => path ?? "");
    for (const path of files.sort().reverse()) {
      const bytes = await this.#get(`${id}/resolve/${commit}/${path}`, signal).then((r) => r.arrayBuffer());
      await write(join(snapshot, path), new Uint8Array(bytes));
    }
    await write(ref, commit);
    return snapshot;
  }

  /** The commit that main stands for. A hub that does not answer is no reason to refuse what is in the cache. */
  async #commit(id: string, ref: string, signal: AbortSignal): Promise<string> {
    const cached = await readFile(ref, "utf8").catch(() => undefined);
    try {
      const { sha } = (await this.#get(`api/models/${id}/revision/main`, signal).then((r) => r.json())) as { sha?: unknown };
      if (typeof sha !== "string" || !/^[\w.-]+$/.test(sha)) throw new Error("the hub named no commit");
      return sha;
    } catch (error) {
      if (cached !== undefined) return cached;
      throw error;
    }
  }

  async #get(path: string, signal: AbortSignal): Promise<Response> {
    if (this.#options.offline) throw new Error("offline");
    const headers = this.#options.token === undefined ? {} : { authorization: `Bearer ${this.#options.token}` };
    const url = `${this.#options.endpoint.replace(/\/+$/, "")}/${path}`;
    const response = await fetch(url, { headers, signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]) });
    if (!response.ok) throw new Error(`the hub answered ${response.status}`);
    return response;
  }
}

async function write(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${createHash("sha256").update(path).digest("hex").slice(0, 8)}.part`;
  await writeFile(partial, content);
  await rename(partial, path);
}
