import { createHash, randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { AdapterStatus, LoadRequest, Snapshot, WatchEvent } from "@aibrix/api";
import pLimit from "p-limit";
import { type Answerer, type Asked, json } from "../test/support/fake-pods.ts";

/** What a bench lets an engine do. */
export interface EngineOptions {
  readonly base: string;
  /** How long a load takes. */
  readonly loadMs: number;
}

/** An engine as vLLM is one: takes one load at a time, whoever asks, and a new process has none. Answers its own routes; counts calls. */
export class BenchEngine implements Answerer {
  /** Root by name. */
  readonly adapters = new Map<string, string>();
  /** Loads that were asked for, and when, in milliseconds of the steady clock. */
  readonly loads: { readonly name: string; readonly atMs: number }[] = [];
  /** When a load ended the last time, on the steady clock. */
  lastLoadedMs = 0;
  lists = 0;
  unloads = 0;
  /** Loads come to an error. */
  fails = false;
  /** Resolved while it answers. */
  #answers: PromiseWithResolvers<void> | undefined;
  #up = true;
  #queue = pLimit(1);
  readonly #options: EngineOptions;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Nothing is answered, as by a process that was stopped: whoever waits is answered when it goes on. */
  set hangs(hangs: boolean) {
    this.#answers?.resolve();
    this.#answers = hangs ? Promise.withResolvers() : undefined;
  }

  get base(): string {
    return this.#options.base;
  }

  get up(): boolean {
    return this.#up;
  }

  /** Its process is gone. */
  kill(): void {
    this.#up = false;
    this.adapters.clear();
    this.#queue = pLimit(1);
  }

  start(): void {
    this.#up = true;
  }

  /** Loads one after the other. @returns whether it is in */
  async load(name: string, root: string): Promise<boolean> {
    this.loads.push({ name, atMs: performance.now() });
    const queue = this.#queue;
    return await queue(async () => {
      await new Promise((resolve) => setTimeout(resolve, this.#options.loadMs));
      // Another process took its place meanwhile.
      if (queue !== this.#queue || this.fails) return false;
      this.adapters.set(name, root);
      this.lastLoadedMs = performance.now();
      return true;
    });
  }

  unload(name: string): boolean {
    this.unloads++;
    return this.adapters.delete(name);
  }

  async answer({ path, body }: Asked, reply: ServerResponse): Promise<void> {
    await this.#answers?.promise;
    if (reply.destroyed) return;
    if (!this.#up) return void reply.destroy();
    const name = String(body.lora_name);
    switch (path) {
      case "/v1/models":
        this.lists++;
        return json(reply, 200, { object: "list", data: this.#models() });
      case "/v1/load_lora_adapter":
        if (this.adapters.has(name)) return error(reply, 400, `The lora adapter '${name}' has already been loaded.`);
        if (await this.load(name, String(body.lora_path))) return void reply.writeHead(200).end("Success");
        return this.#up ? error(reply, 500, "CUDA error: out of memory") : void reply.destroy();
      case "/v1/unload_lora_adapter":
        if (this.unload(name)) return void reply.writeHead(200).end("Success");
        return error(reply, 404, `The lora adapter '${name}' cannot be found.`);
      default:
        return json(reply, 404, { detail: "Not Found" });
    }
  }

  #models(): object[] {
    const adapters = [...this.adapters].map(([id, root]) => ({ id, object: "model", root, parent: this.base }));
    return [{ id: this.base, object: "model", root: this.base, parent: null }, ...adapters];
  }
}

function error(reply: ServerResponse, code: number, message: string): void {
  json(reply, code, { error: { message, type: code === 404 ? "NotFoundError" : "Error", param: null, code } });
}

/** The runtime's contract over a {@link BenchEngine}, in memory: what is declared is loaded, and loaded again after a restart of the engine. */
export class BenchSidecar implements Answerer {
  readonly engine: BenchEngine;
  /** Load calls that came, and when. */
  readonly loads: { readonly name: string; readonly atMs: number }[] = [];
  unloads = 0;
  /** Load calls are answered with an error. */
  fails = false;
  watches = 0;
  #answers: PromiseWithResolvers<void> | undefined;
  readonly #instance = randomUUID();
  readonly #adapters = new Map<string, AdapterStatus>();
  readonly #streams = new Set<ServerResponse>();

  constructor(engine: BenchEngine) {
    this.engine = engine;
  }

  get declared(): number {
    return this.#adapters.size;
  }

  /** It goes silent, as a process that was stopped: no stream says anything, and calls are answered when it goes on. */
  set hangs(hangs: boolean) {
    this.#answers?.resolve();
    this.#answers = hangs ? Promise.withResolvers() : undefined;
    // What they missed comes with the snapshot of the next.
    if (!hangs) this.dropStreams();
  }

  dropStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** The engine's process is gone. */
  killEngine(): void {
    this.engine.kill();
    this.#tellEngine();
    for (const a of [...this.#adapters.values()])
      this.#put({ ...a, state: "Pending", serving: null, reason: "EngineUnavailable", message: "the engine does not answer" });
  }

  /** The engine answers again: what was declared comes back, one after the other. */
  async startEngine(): Promise<void> {
    this.engine.start();
    this.#tellEngine();
    await Promise.all([...this.#adapters.values()].map((a) => this.#bring(a)));
  }

  /** The engine lost one adapter. */
  async lose(name: string): Promise<void> {
    const lost = this.#adapters.get(name);
    if (lost === undefined) return;
    this.engine.adapters.delete(name);
    this.#put({ ...lost, state: "Loading", serving: null });
    await this.#bring(lost);
  }

  async answer({ method, path, query, body }: Asked, reply: ServerResponse): Promise<void> {
    await this.#answers?.promise;
    if (reply.destroyed) return;
    if (method === "GET" && path === "/v1/lora_adapters" && query.get("watch") === "true") this.#watch(reply);
    else if (path === "/v1/lora_adapter/load") this.#load(body as LoadRequest, reply);
    else if (path === "/v1/lora_adapter/unload") this.#unload(String(body.lora_name), reply);
    else json(reply, 404, { error: { code: "NotFound", message: "no such path", retryable: false } });
  }

  #load({ lora_name: name, artifact_url, owner }: LoadRequest, reply: ServerResponse): void {
    this.loads.push({ name, atMs: performance.now() });
    if (this.fails) return void json(reply, 500, { error: { code: "Internal", message: "it always fails", retryable: true } });
    const declared: AdapterStatus = {
      lora_name: name,
      artifact_url,
      origin: "api",
      state: "Loading",
      serving: null,
      content_digest: `sha256:${createHash("sha256").update(artifact_url).digest("hex").slice(0, 16)}`,
      attempts: 0,
      ...(owner === undefined ? {} : { owner }),
    };
    this.#put(declared);
    void this.#bring(declared);
    json(reply, 202, declared);
  }

  async #bring(a: AdapterStatus): Promise<void> {
    const { lora_name: name, content_digest: digest = "" } = a;
    const path = `/tmp/aibrix/adapters/${name}/${digest}`;
    if (!this.engine.up || !(await this.engine.load(name, path)) || !this.#adapters.has(name)) return;
    const { reason: _, message: __, ...rest } = a;
    this.#put({ ...rest, state: "Serving", serving: { content_digest: digest, path, since: new Date().toISOString() } });
  }

  #unload(name: string, reply: ServerResponse): void {
    this.unloads++;
    this.engine.unload(name);
    const there = this.#adapters.delete(name);
    if (there) this.#tell({ type: "DELETED", lora_name: name });
    json(reply, there ? 200 : 404, {});
  }

  #watch(reply: ServerResponse): void {
    this.watches++;
    reply.writeHead(200, { "content-type": "application/x-ndjson" });
    this.#streams.add(reply);
    const beat = setInterval(() => this.#write(reply, { type: "BOOKMARK" }), 5_000);
    reply.on("close", () => {
      clearInterval(beat);
      this.#streams.delete(reply);
    });
    this.#write(reply, { type: "SNAPSHOT", object: this.#snapshot() });
  }

  #put(status: AdapterStatus): void {
    this.#adapters.set(status.lora_name, status);
    this.#tell({ type: "ADAPTER", object: status });
  }

  #tellEngine(): void {
    this.#tell({ type: "ENGINE", object: this.#snapshot().engine });
  }

  #tell(event: WatchEvent): void {
    for (const stream of this.#streams) this.#write(stream, event);
  }

  #write(stream: ServerResponse, event: WatchEvent): void {
    if (this.#answers === undefined) stream.write(`${JSON.stringify(event)}\n`);
  }

  #snapshot(): Snapshot {
    return {
      instance_id: this.#instance,
      engine: { url: "http://127.0.0.1:8000", kind: "vllm", ready: this.engine.up, base_models: [this.engine.base], boot_id: "1" },
      adapters: [...this.#adapters.values()],
      manifest_problems: [],
    };
  }
}
