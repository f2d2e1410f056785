import pLimit, { type LimitFunction } from "p-limit";
import { readAdapter, type Weights } from "./adapter.ts";
import type { BaseModel } from "./base-model.ts";
import { AdapterNotFoundError, EngineDeadError, internalError, invalidInput, notFound, type Refusal, WorkerError } from "./errors.ts";
import type { HubCache } from "./hub.ts";
import { AdapterCache } from "./lru.ts";
import type { Metrics } from "./metrics.ts";
import type { EngineOptions, MockSettings } from "./options.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { Scheduler } from "./scheduler.ts";

/** A name that can be asked for. Every load gets a new `id`, so weights of an old load never answer for a new one. */
export interface LoadedAdapter {
  readonly id: number;
  readonly name: string;
  readonly path: string;
  readonly parent: string;
}

export interface LoadRequest {
  readonly name: string;
  readonly path: string;
  readonly inPlace: boolean;
  readonly baseModelName?: string | undefined;
}

/** What the engine needs from around it. */
export interface EngineDeps {
  readonly base: BaseModel;
  readonly hub: HubCache;
  readonly metrics: Metrics;
  /** Told once, when the engine cannot go on; the process is expected to end soon after. */
  readonly onDeath: () => void;
  /** Ends the process at once. */
  readonly onCrash: () => void;
  readonly log: (event: Readonly<Record<string, unknown>>, message: string) => void;
}

/** vLLM wraps what its worker raises twice on the way to the caller (v1/executor/multiproc_executor.py, v1/engine/core.py). */
function addLoraError(message: string): Refusal {
  return internalError(
    `Call to add_lora method failed: Worker failed with error '${message}', please check the stack trace above for the root cause`,
  );
}

/** The engine without its HTTP surface: names, memory, and who runs. */
export class Engine {
  readonly options: EngineOptions;
  readonly settings: MockSettings;
  readonly scheduler: Scheduler;
  readonly prefixCache: PrefixCache = new PrefixCache();
  readonly #deps: EngineDeps;
  readonly #loaded = new Map<string, LoadedAdapter>();
  readonly #memory: AdapterCache<Weights>;
  /** Adapters that are ready to compute with: `maxLoras` slots on a GPU. */
  readonly #slots: AdapterCache<true>;
  readonly #names = new Map<string, LimitFunction>();
  /** vLLM's engine core is one thread: one load or re-read at a time. */
  readonly #core = pLimit(1);
  readonly #requests = new Set<AbortController>();
  readonly #closed = new AbortController();
  #lastId = 0;
  #dead = false;

  constructor(options: EngineOptions, deps: EngineDeps) {
    this.options = options;
    this.settings = { ...options.settings };
    this.#deps = deps;
    this.#memory = new AdapterCache(options.maxCpuLoras);
    this.#slots = new AdapterCache(options.maxLoras);
    const onLanes = options.enableLora ? (names: readonly string[]) => deps.metrics.adaptersRunning(names) : undefined;
    this.scheduler = new Scheduler({ maxSeqs: options.maxNumSeqs, maxLoras: options.maxLoras, ...(onLanes ? { onLanes } : {}) });
  }

  get dead(): boolean {
    return this.#dead;
  }

  get maxModelLen(): number {
    return this.options.maxModelLen ?? this.#deps.base.maxModelLen ?? 4096;
  }

  /** Name of the base model in answers. */
  get baseName(): string {
    return this.options.servedModelNames[0] ?? this.options.model;
  }

  adapters(): Iterable<LoadedAdapter> {
    return this.#loaded.values();
  }

  /** The adapter or base model that a request's `model` means; without one it is the base model. */
  find(model: string | null | undefined): LoadedAdapter | "base" | undefined {
    if (model === undefined || model === null || model === "") return "base";
    return this.#loaded.get(model) ?? (this.options.servedModelNames.includes(model) ? "base" : undefined);
  }

  /** Loads an adapter; undefined is success. Two loads of one name wait for each other. */
  async load(request: LoadRequest): Promise<Refusal | undefined> {
    return await this.#perName(request.name, async () => {
      const refusal = this.#checkLoad(request);
      if (refusal !== undefined) return refusal;
      if (!this.options.enableLora) return addLoraError("LoRA is not enabled. Use --enable-lora to enable LoRA.");
      const known = this.#loaded.get(request.name);
      const parent =
        request.baseModelName !== undefined && this.options.servedModelNames.includes(request.baseModelName)
          ? request.baseModelName
          : this.baseName;
      const adapter = { id: known?.id ?? ++this.#lastId, name: request.name, path: request.path, parent };
      try {
        const weights = await this.#core(() => this.#read(adapter));
        if (weights.misfit !== undefined) return addLoraError(weights.misfit);
        this.#loaded.set(adapter.name, adapter);
        this.#deps.log({ adapter: adapter.name, path: adapter.path, digest: weights.digest }, "loaded a LoRA adapter");
        return undefined;
      } catch (error) {
        if (error instanceof AdapterNotFoundError) return notFound(error.message);
        if (error instanceof EngineDeadError) return internalError(error.message);
        return addLoraError(error instanceof Error ? error.message : String(error));
      }
    });
  }

  /** Forgets a name; undefined is success. The weights stay in memory until others need their place. */
  async unload(name: string): Promise<Refusal | undefined> {
    return await this.#perName(name, async () => {
      if (name === "") return invalidInput("'lora_name' needs to be provided to unload a LoRA adapter.");
      if (!this.#loaded.delete(name)) return notFound(`The lora adapter '${name}' cannot be found.`);
      this.#deps.log({ adapter: name }, "unloaded a LoRA adapter");
      return undefined;
    });
  }

  /**
   * The weights that the next token of a running request is made with. They are read again if they had to make room;
   * when that fails, the engine ends, because vLLM's does.
   *
   * Two contents under one name at a time end it too, where slots are few: vLLM compares adapters by their name
   * (`LoRARequest.__eq__` in vllm/lora/request.py), so at each step it gives a slot only to the one that started first.
   * The other one is served while it has the slot of its load; once another load took that, the lookup fails (KeyError).
   * @throws EngineDeadError
   */
  weights(adapter: LoadedAdapter): Weights | Promise<Weights> {
    if (this.#dead) throw new EngineDeadError();
    if (this.scheduler.leads(adapter.id)) {
      const found = this.#memory.get(adapter.id);
      if (found === undefined) return this.#core(() => this.#reread(adapter));
      this.#activate(adapter.id);
      return found;
    }
    const found = this.#slots.peek(adapter.id) && this.#memory.peek(adapter.id);
    if (found !== undefined) return found;
    this.die(`KeyError: ${adapter.id}, a second content of ${adapter.name}`);
    throw new EngineDeadError();
  }

  /** Registers a request; its signal aborts when the engine dies or closes. Undo with {@link leave}. */
  enter(): AbortController {
    if (this.#dead) throw new EngineDeadError();
    const controller = new AbortController();
    this.#requests.add(controller);
    return controller;
  }

  leave(controller: AbortController): void {
    this.#requests.delete(controller);
  }

  /** Ends every request with vLLM's message for a dead engine. `/health` answers 503 from now on. */
  die(why: string): void {
    if (this.#dead) return;
    this.#abort();
    this.#deps.log({ why }, "the engine cannot go on");
    this.#deps.onDeath();
  }

  /** Ends the process at once, without a word to anybody. */
  crash(): void {
    this.#deps.onCrash();
    this.#abort();
  }

  /** Ends running requests and whatever is being fetched. */
  close(): void {
    this.#abort();
    this.#closed.abort(new EngineDeadError());
  }

  #abort(): void {
    this.#dead = true;
    for (const controller of this.#requests) controller.abort(new EngineDeadError());
  }

  #checkLoad({ name, path, inPlace }: LoadRequest): Refusal | undefined {
    if (name === "" || path === "") return invalidInput("Both 'lora_name' and 'lora_path' must be provided.");
    if (this.options.servedModelNames.includes(name)) return invalidInput(`The lora adapter '${name}' conflicts with a served base model.`);
    if (inPlace || !this.#loaded.has(name)) return undefined;
    return invalidInput(
      `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
    );
  }

  async #read(adapter: LoadedAdapter): Promise<Weights> {
    if (this.settings.crashOnLoad === adapter.name) this.crash();
    if (this.#dead) throw new EngineDeadError();
    if (this.settings.loadDelayMs > 0) await delay(this.settings.loadDelayMs, this.#closed.signal);
    const directory = await this.#deps.hub.locate(adapter.path, this.#closed.signal);
    const weights = await readAdapter(directory, adapter.name, adapter.path, {
      maxLoraRank: this.options.maxLoraRank,
      base: this.#deps.base,
    });
    if (this.settings.crashOnLoad === weights.digest) {
      this.crash();
      throw new EngineDeadError();
    }
    // The place in memory is taken before vLLM notices that the sizes do not fit.
    const evicted = this.#memory.put(adapter.id, weights, (id) => this.scheduler.leads(id));
    if (evicted !== undefined) {
      this.#slots.drop(evicted);
      this.#deps.log({ id: evicted, for: adapter.name }, "an adapter made room in memory");
    }
    this.#activate(adapter.id);
    return weights;
  }

  #activate(id: number): void {
    if (this.#slots.get(id) === undefined) this.#slots.put(id, true, (other) => this.scheduler.leads(other));
  }

  async #reread(adapter: LoadedAdapter): Promise<Weights> {
    const known = this.#memory.get(adapter.id);
    if (known !== undefined) {
      this.#activate(adapter.id);
      return known;
    }
    try {
      return await this.#read(adapter);
    } catch (error) {
      if (!(error instanceof WorkerError || error instanceof AdapterNotFoundError)) throw error;
      this.die(error.message);
      throw new EngineDeadError();
    }
  }

  async #perName<T>(name: string, work: () => Promise<T>): Promise<T> {
    const limit = this.#names.get(name) ?? pLimit(1);
    this.#names.set(name, limit);
    try {
      return await limit(work);
    } finally {
      if (limit.activeCount + limit.pendingCount === 0) this.#names.delete(name);
    }
  }
}

/** Waits. Rejects with the signal's reason as soon as it aborts. */
export function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal.addEventListener("abort", abort, { once: true });
  });
}
