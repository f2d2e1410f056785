import { createLogger, type Logger } from "@aibrix/service";
import type { Artifacts, Content, Wanted } from "../src/artifact/artifacts.ts";
import type { AdapterFacts } from "../src/artifact/check/adapter.ts";
import { ArtifactStore, type StoreOptions } from "../src/artifact/store/store.ts";
import type { Progress } from "../src/artifact/transfer/meter.ts";
import type { Engine, EngineModel } from "../src/engine/engine.ts";
import { AdapterError } from "../src/errors.ts";
import { createMetrics } from "../src/metrics.ts";

export const SILENT: Logger = createLogger("test", "silent");

export const NEVER: AbortSignal = new AbortController().signal;

/** A store without bounds, in a folder of its own unless `options` say otherwise. */
export function testStore(dir: string, options: Partial<StoreOptions> = {}): ArtifactStore {
  return new ArtifactStore(dir, { bounds: { minFree: { bytes: 0 } }, metrics: createMetrics(), log: SILENT, ...options });
}

/** An engine in memory. Change its fields as the world changes. */
export class FakeEngine implements Engine {
  readonly kind = "fake";
  readonly url = "http://engine.test";
  up = true;
  boot: string | undefined = "boot-1";
  apiKey: string | undefined;
  adapters = new Map<string, string>();
  /** What loads of a path answer instead of working. */
  refusals = new Map<string, AdapterError>();
  /** Paths that end it: while they are loaded, or at the first request for them. */
  endsBy = new Map<string, "load" | "request">();
  calls: string[] = [];
  /** Names under which it was asked for an answer. */
  probes: string[] = [];
  bootReads = 0;
  #disconnected: (() => void)[] = [];

  /** Another process in its place: nothing is loaded. */
  restart(boot: string): void {
    this.boot = boot;
    this.adapters.clear();
    for (const listener of this.#disconnected) listener();
  }

  async health(): Promise<void> {
    if (!this.up) throw new AdapterError("EngineUnavailable", "the engine is down");
  }

  async listModels(apiKey: string | undefined): Promise<readonly EngineModel[]> {
    await this.#enter(apiKey);
    const base = { id: "base", root: "/models/base", parent: undefined };
    const adapters = [...this.adapters].map(([id, root]) => ({ id, root, parent: "base" }));
    return [base, ...adapters].map((m) => ({ ...m, raw: { ...m, created: Math.random() } }));
  }

  async load({ name, path, apiKey }: Parameters<Engine["load"]>[0]): Promise<void> {
    this.calls.push(`load ${name} ${path}`);
    await this.#enter(apiKey);
    if (this.endsBy.get(path) === "load") this.#end();
    const refusal = this.refusals.get(path);
    if (refusal !== undefined) throw refusal;
    if (this.adapters.has(name)) throw new AdapterError("NameConflict", "already loaded", { retryable: true });
    this.adapters.set(name, path);
  }

  /** What a request under a name comes to; an answer where nothing is said. */
  answers = new Map<string, "served" | "notNeeded" | AdapterError | Promise<"served">>();

  async probe({ name, apiKey }: Parameters<Engine["probe"]>[0], signal: AbortSignal): Promise<"served" | "notNeeded"> {
    this.probes.push(name);
    await this.#enter(apiKey);
    if (this.endsBy.get(this.adapters.get(name) ?? "") === "request") this.#end();
    const answer = this.answers.get(name) ?? "served";
    if (answer instanceof Error) throw answer;
    return await Promise.race([answer, aborted(signal)]);
  }

  async ask(): Promise<{ readonly status: number; readonly body: string }> {
    return { status: 200, body: "{}" };
  }

  async unload({ name, apiKey }: Parameters<Engine["unload"]>[0]): Promise<void> {
    this.calls.push(`unload ${name}`);
    await this.#enter(apiKey);
    this.adapters.delete(name);
  }

  async bootId(): Promise<string | undefined> {
    this.bootReads += 1;
    return this.boot;
  }

  startedAtMs(): number | undefined {
    return undefined;
  }

  /** What of its metrics tells of requests; some of nobody in particular where absent. */
  requests: { readonly names: readonly string[]; readonly waiting?: number; readonly maxLoras?: number } | undefined;

  async metrics(): Promise<string> {
    if (!this.up) throw new AdapterError("EngineUnavailable", "the engine is down");
    if (this.requests !== undefined) {
      const { names, waiting = 0, maxLoras = 1 } = this.requests;
      const info = `running_lora_adapters="${names.join(",")}",max_lora="${maxLoras}",waiting_lora_adapters=""`;
      return `vllm:num_requests_running ${names.length}\nvllm:num_requests_waiting ${waiting}\nvllm:lora_requests_info{${info}} 1\n`;
    }
    return [
      "# TYPE vllm:num_requests_running gauge",
      "vllm:num_requests_running 3",
      "# TYPE vllm:num_requests_waiting gauge",
      "vllm:num_requests_waiting 0\n",
    ].join("\n");
  }

  onDisconnect(listener: () => void): void {
    this.#disconnected.push(listener);
  }

  async close(): Promise<void> {}

  #end(): never {
    this.up = false;
    throw new AdapterError("EngineUnavailable", "the connection broke", {
      cause: Object.assign(new Error("reset"), { code: "ECONNRESET" }),
    });
  }

  async #enter(apiKey: string | undefined): Promise<void> {
    if (!this.up) throw new AdapterError("EngineUnavailable", "the engine is down");
    if (this.apiKey !== undefined && apiKey !== this.apiKey) throw new AdapterError("EngineUnauthorized", "the engine wants a key");
  }
}

/** Artifacts by URL: content, an error, or a promise of one of them. */
export class FakeArtifacts implements Artifacts {
  readonly byUrl = new Map<string, Content | AdapterError | Promise<Content>>();
  readonly asked: Wanted[] = [];
  /** Paths whose files somebody removed. */
  readonly lost = new Set<string>();

  async obtain(wanted: Wanted, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<Content> {
    this.asked.push(wanted);
    onProgress({ bytes: 1, totalBytes: 2, bytesPerSecond: 1 });
    const result = this.byUrl.get(wanted.url);
    if (result instanceof Error) throw result;
    if (result === undefined) throw new AdapterError("ArtifactNotFound", `nothing at ${wanted.url}`);
    const content = await Promise.race([result, aborted(signal)]);
    this.lost.delete(content.path);
    return content;
  }

  /** What is in the files of a path. */
  readonly facts = new Map<string, AdapterFacts>();

  async inspect(content: Content): Promise<AdapterFacts | undefined> {
    return this.facts.get(content.path);
  }

  async used(): Promise<void> {}

  async isComplete(_name: string, content: Content): Promise<boolean> {
    return !this.lost.has(content.path);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }));
}

/** Content of a made-up digest at `/store/<name>`. */
export function fakeContent(name: string): Content {
  return { path: `/store/${name}`, digest: `sha256:${name}` };
}
