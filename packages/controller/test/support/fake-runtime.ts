import { createHash, randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { AdapterStatus, LoadRequest, Prepared, PrepareRequest, Snapshot, UnloadRequest, WatchEvent } from "@aibrix/api";
import { type Answerer, type Asked, json } from "./fake-pods.ts";

/** What a load comes to. */
export type Fate = "serving" | { readonly reason: string; readonly message: string; readonly retryable: boolean };

/** The runtime's contract, in memory: declarations become served adapters, or what {@link fate} says. */
export class FakeRuntime implements Answerer {
  readonly loads: LoadRequest[] = [];
  readonly prepares: PrepareRequest[] = [];
  readonly unloads: string[] = [];
  /** Contents that took the place of others, by name and digest, in order. */
  readonly swaps: string[] = [];
  /** Names whose old content has requests that go on for as long as they are told. */
  readonly held = new Set<string>();
  /** It is of a release that cannot prepare anything. */
  old = false;
  /** What is at a URL, where that is not what its name says: references move. */
  contentAt: (url: string) => string = (url) => digestAt(url);
  /** The commit that is at a URL, where its source has some. */
  revisionAt: (url: string) => string | undefined = () => undefined;
  /** How long calls wait for their answer, in milliseconds; what they ask for begins at once. */
  answerMs = 0;
  /** Most calls for one name that waited for their answer at a time. */
  most = 0;
  watches = 0;
  fate: (load: Pick<LoadRequest, "lora_name" | "artifact_url" | "credentials" | "limits" | "additional_config">) => Fate = () => "serving";
  /** What the prompts come to that new content has to answer. */
  answers: (prepare: PrepareRequest) => Fate = () => "serving";
  /** The rank of what is loaded, where it tells one. */
  rank: number | undefined;
  /** How long a load takes. */
  loadMs = 0;
  /** Calls are not answered. */
  hangs = false;
  /** What calls come to instead of what they ask for. */
  ill: "500" | "reset" | "garbage" | "accepts" | "silent" | undefined;
  /** Calls that it took and has not answered, nor has the caller given up: of a silent one streams too. */
  readonly unanswered = new Set<ServerResponse>();
  /** When calls came, in milliseconds. */
  readonly asked: number[] = [];
  #instance: string = randomUUID();
  #engineReady = true;
  readonly #adapters = new Map<string, AdapterStatus>();
  /** Names of the calls that are not answered yet. */
  readonly #calls = new Map<ServerResponse, string>();
  readonly #streams = new Set<ServerResponse>();

  get serving(): string[] {
    return [...this.#adapters.values()].filter((a) => a.serving !== null).map((a) => a.lora_name);
  }

  /** Digest of what answers under a name: that of the older content while newer is not in. */
  servedDigest(name: string): string | undefined {
    return this.#adapters.get(name)?.serving?.content_digest;
  }

  /** The sidecar's process is another one, and remembers its declarations. */
  restart(): void {
    this.#instance = randomUUID();
    this.dropStreams();
  }

  dropStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** The engine's process is gone, or back: then its adapters come back one after the other. */
  setEngine(ready: boolean): void {
    this.#engineReady = ready;
    this.#tell({ type: "ENGINE", object: this.#snapshot().engine });
    for (const a of this.#adapters.values()) {
      if (ready)
        this.#put({
          ...served(a.lora_name, a.artifact_url, a.content_digest, a.resolved_revision),
          ...(a.owner === undefined ? {} : { owner: a.owner }),
        });
      else this.#put({ ...a, state: "Pending", serving: null, reason: "EngineUnavailable", message: "the engine does not answer" });
    }
  }

  /** Somebody put it there by a manifest. */
  putManifest(name: string, url: string): void {
    this.#put({ ...served(name, url), origin: "manifest" });
  }

  /** Somebody put it there by a call without an owner, or takes it away again. */
  putByHand(name: string, url: string): void {
    this.#put({ ...served(name, url), owner: null });
  }

  removeByHand(name: string): void {
    if (this.#adapters.delete(name)) this.#tell({ type: "DELETED", lora_name: name });
  }

  /** Names that have requests: a drain waits for them. */
  readonly busy = new Set<string>();
  /** Grace of each unload, in seconds. */
  readonly graces: (number | undefined)[] = [];

  /** The requests of a name have ended. */
  idle(name: string): void {
    this.busy.delete(name);
    if (this.#adapters.get(name)?.state === "Draining") this.removeByHand(name);
  }

  /** Who declared what is there. */
  owner(name: string): string | null | undefined {
    return this.#adapters.get(name)?.owner;
  }

  answer({ method, path, query, body }: Asked, reply: ServerResponse): void {
    if (this.ill === "silent") {
      if (method !== "GET") this.asked.push(performance.now());
      else this.watches++;
      this.#leave(reply);
    } else if (method === "GET" && path === "/v1/lora_adapters") {
      if (query.get("watch") === "true") this.#watch(reply);
      else json(reply, 200, this.#snapshot());
    } else if (this.#spoils(reply)) {
      // Answered, or never.
    } else {
      this.#count(String(body.lora_name), reply);
      if (path === "/v1/lora_adapter/prepare" && !this.old) this.#prepare(body as PrepareRequest, reply);
      else if (path === "/v1/lora_adapter/load") this.#load(body as LoadRequest, reply);
      else if (path === "/v1/lora_adapter/unload") this.#unload(body as UnloadRequest, reply);
      else this.#say(reply, 404, { error: { code: "NotFound", message: "no such path", retryable: false } });
    }
  }

  #count(name: string, reply: ServerResponse): void {
    this.#calls.set(reply, name);
    this.most = Math.max(this.most, [...this.#calls.values()].filter((n) => n === name).length);
    // Whoever gives up waits no more.
    reply.once("close", () => this.#calls.delete(reply));
  }

  #say(reply: ServerResponse, status: number, body: unknown): void {
    const say = () => {
      this.#calls.delete(reply);
      json(reply, status, body);
    };
    if (this.answerMs > 0) setTimeout(say, this.answerMs);
    else say();
  }

  #notOurs(reply: ServerResponse): void {
    this.#say(reply, 409, { error: { code: "NotOurs", message: "somebody else declared it", retryable: false } });
  }

  #spoils(reply: ServerResponse): boolean {
    this.asked.push(performance.now());
    if (this.ill === "500") json(reply, 500, { error: { code: "Internal", message: "oops", retryable: true } });
    else if (this.ill === "garbage") reply.writeHead(502).end("<html>bad gateway");
    else if (this.ill === "accepts") json(reply, 202, {});
    else if (this.ill === "reset") reply.destroy();
    else if (this.hangs) this.#leave(reply);
    return this.hangs || this.ill !== undefined;
  }

  #leave(reply: ServerResponse): void {
    this.unanswered.add(reply);
    reply.on("close", () => this.unanswered.delete(reply));
  }

  #load(load: LoadRequest, reply: ServerResponse): void {
    this.loads.push(load);
    const { lora_name: name, artifact_url: url, owner = null } = load;
    const there = this.#adapters.get(name);
    if (there !== undefined && !this.#mayReplace(there, load)) {
      this.#notOurs(reply);
      return;
    }
    if (this.old && (load.content !== undefined || load.drain_seconds !== undefined)) {
      const field = load.content === undefined ? "drain_seconds" : "content";
      this.#say(reply, 400, { error: { code: "BadRequest", message: `${field}: is not a field of this request`, retryable: false } });
      return;
    }
    const serving = there?.serving ?? null;
    // What is here is not fetched again, whatever credentials come with it.
    const isHere = serving !== null && there?.artifact_url === url && load.content?.digest === serving.content_digest;
    const fate = isHere ? "serving" : this.fate(load);
    const digest = load.content?.digest ?? (there?.artifact_url === url ? there.content_digest : undefined) ?? this.contentAt(url);
    const known = there?.artifact_url === url ? there : undefined;
    const revision =
      load.content === undefined ? (known ?? { resolved_revision: this.revisionAt(url) }).resolved_revision : load.content.revision;
    const swaps = serving !== null && serving.content_digest !== digest && fate === "serving";
    const prepared = there?.prepared !== undefined && there.prepared.content_digest !== digest ? { prepared: there.prepared } : {};
    const base = { ...served(name, url, digest, revision), owner, serving, ...prepared };
    const settle = () => {
      if (swaps) {
        this.swaps.push(`${name} ${digest}`);
      }
      const rank = this.rank === undefined ? {} : { max_rank: this.rank };
      if (fate === "serving") this.#put({ ...served(name, url, digest, revision), owner, ...prepared, ...rank });
      else this.#put({ ...base, state: "Failed", attempts: 1, ...fate });
    };
    if (swaps && this.held.has(name)) this.#put({ ...base, state: "Updating", waits_since: new Date().toISOString() });
    else if (this.loadMs > 0) {
      this.#put({ ...base, state: serving === null ? "Downloading" : "Updating" });
      setTimeout(settle, this.loadMs);
    } else settle();
    if (swaps && this.held.has(name)) this.#release.set(name, settle);
    this.#say(reply, 202, this.#adapters.get(name));
  }

  readonly #release = new Map<string, () => void>();

  /** The requests of what a name served have ended. */
  release(name: string): void {
    this.held.delete(name);
    this.#release.get(name)?.();
    this.#release.delete(name);
  }

  #prepare(request: PrepareRequest, reply: ServerResponse): void {
    this.prepares.push(request);
    const { lora_name: name, artifact_url: url, refresh, content } = request;
    const there = this.#adapters.get(name);
    if (there === undefined) {
      this.#say(reply, 404, { error: { code: "NotFound", message: `no adapter "${name}" is declared`, retryable: false } });
      return;
    }
    const found = this.fate(request);
    const fate = found === "serving" && request.checks !== undefined ? this.answers(request) : found;
    const checks = request.checks === undefined ? {} : { checks: request.checks.length };
    const base: Prepared = {
      artifact_url: url,
      state: "Downloading",
      attempts: 0,
      ...(refresh === undefined ? {} : { refresh }),
      ...checks,
    };
    const revision = content === undefined ? this.revisionAt(url) : content.revision;
    const settle = () => {
      const now = this.#adapters.get(name);
      if (now === undefined || now.artifact_url !== there.artifact_url) return;
      const ready = { state: "Ready" as const, content_digest: content?.digest ?? this.contentAt(url), ...commit(revision) };
      this.#put({ ...now, prepared: { ...base, ...(fate === "serving" ? ready : { state: "Failed" as const, attempts: 1, ...fate }) } });
    };
    if (this.loadMs > 0) {
      this.#put({ ...there, prepared: base });
      setTimeout(settle, this.loadMs);
    } else settle();
    this.#say(reply, 202, this.#adapters.get(name));
  }

  /** As the runtime decides it. */
  #mayReplace({ owner }: AdapterStatus, load: LoadRequest): boolean {
    if ((owner ?? undefined) === load.owner) return true;
    if (owner === null) return load.adopt === true;
    const object = (text: string | undefined) => text?.split("/").slice(0, 3).join("/");
    return object(owner) === object(load.owner);
  }

  #unload({ lora_name: name, owner, grace_seconds: grace }: UnloadRequest, reply: ServerResponse): void {
    this.unloads.push(name);
    this.graces.push(grace);
    const entry = this.#adapters.get(name);
    if (entry !== undefined && (entry.owner ?? undefined) !== owner) {
      this.#notOurs(reply);
      return;
    }
    if (entry !== undefined && this.busy.has(name) && grace !== undefined) {
      this.#put({ ...entry, state: "Draining" });
      this.#say(reply, 202, this.#adapters.get(name));
      return;
    }
    const there = this.#adapters.delete(name);
    if (there) this.#tell({ type: "DELETED", lora_name: name });
    this.#say(reply, there ? 200 : 404, {});
  }

  #watch(reply: ServerResponse): void {
    this.watches++;
    reply.writeHead(200, { "content-type": "application/x-ndjson" });
    this.#streams.add(reply);
    const beat = setInterval(() => reply.write(line({ type: "BOOKMARK" })), 1_000);
    reply.on("close", () => {
      clearInterval(beat);
      this.#streams.delete(reply);
    });
    reply.write(line({ type: "SNAPSHOT", object: this.#snapshot() }));
  }

  #put(status: AdapterStatus): void {
    this.#adapters.set(status.lora_name, status);
    this.#tell({ type: "ADAPTER", object: status });
  }

  #tell(event: WatchEvent): void {
    for (const stream of this.#streams) stream.write(line(event));
  }

  #snapshot(): Snapshot {
    return {
      instance_id: this.#instance,
      engine: { url: "http://127.0.0.1:8000", kind: "vllm", ready: this.#engineReady, base_models: ["base"], boot_id: "1" },
      adapters: [...this.#adapters.values()],
      manifest_problems: [],
    };
  }
}

/** The digest of the content that is at a URL. */
export function digestAt(url: string): string {
  return `sha256:${createHash("sha256").update(url).digest("hex").slice(0, 16)}`;
}

function commit(revision: string | undefined): { readonly resolved_revision?: string } {
  return revision === undefined ? {} : { resolved_revision: revision };
}

function served(name: string, url: string, digest = digestAt(url), revision?: string): AdapterStatus {
  return {
    lora_name: name,
    artifact_url: url,
    origin: "api",
    state: "Serving",
    serving: { content_digest: digest, path: `/tmp/aibrix/adapters/${name}/${digest}`, since: new Date().toISOString() },
    content_digest: digest,
    ...commit(revision),
    // What it says of its engine: fast enough for Envoy to bridge a swap.
    timings: { load_ms: 20 },
    attempts: 0,
  };
}

function line(event: WatchEvent): string {
  return `${JSON.stringify(event)}\n`;
}
