import { CONFIG_API_KEY, type EngineStatus, maxLorasOf } from "@aibrix/api";
import { type Logger, sleep } from "@aibrix/service";
import pLimit from "p-limit";
import { AdapterError, messageOf, networkCode } from "../errors.ts";
import type { Engine, EngineModel } from "./engine.ts";
import type { KeyRing } from "./key-ring.ts";

/** How often the engine is looked at, in milliseconds: a restart must be noticed within a second. */
const PERIOD_MS = 500;
/** An engine that is busy may miss a deadline; one that misses this many in a row counts as gone. */
const TIMEOUTS_UNTIL_GONE = 3;

/** The engine as last seen. A new object for every change. */
export interface EngineView {
  readonly ready: boolean;
  /** Why not, and what to do; also what stands in the way of a ready engine's list. */
  readonly message: string | undefined;
  /** What it answers to, by name; `undefined` while that is not known. */
  readonly models: ReadonlyMap<string, EngineModel> | undefined;
  /** It is ready, but no known key lets us see its list. */
  readonly unauthorized: boolean;
  /** Last known, also while the engine is away: it comes back with the same ones. */
  readonly baseModels: readonly string[];
  /** Differs between two processes of the engine; `undefined` where the engine does not tell. */
  readonly bootId: string | undefined;
  /** Its `--max-loras`, once its metrics have shown it: they do not before the first request under an adapter's name. */
  readonly maxLoras?: number | undefined;
}

export const ENGINE_UNSEEN: EngineView = {
  ready: false,
  message: "the engine has not been reached yet",
  models: undefined,
  unauthorized: false,
  baseModels: [],
  bootId: undefined,
};

/** Looks at the engine again and again, and tells whoever listens when something changed. */
export class EngineObserver {
  readonly #engine: Engine;
  readonly #keys: KeyRing;
  readonly #log: Logger;
  readonly #listeners: ((view: EngineView) => void)[] = [];
  /** One look at a time: an answer never overwrites a later one. */
  readonly #one = pLimit(1);
  #view = ENGINE_UNSEEN;
  #timeouts = 0;
  #failedLists = 0;
  /** Counts what hints at another process. */
  #hints = 1;
  /** The process that was asked for its id after the last of them, if it was. */
  #told: { readonly bootId: string | undefined; readonly hints: number } = { bootId: undefined, hints: 0 };

  constructor(deps: { readonly engine: Engine; readonly keys: KeyRing; readonly log: Logger }) {
    this.#engine = deps.engine;
    this.#keys = deps.keys;
    this.#log = deps.log;
    this.#engine.onDisconnect(() => {
      this.#hints += 1;
    });
  }

  get view(): EngineView {
    return this.#view;
  }

  /**
   * The engine's process, where that is known for sure; `undefined` while another one may run that has not told its id yet. What is given to
   * the engine now is given to this process, and not surely to that of the view, which is the last one known.
   */
  get bootId(): string | undefined {
    return this.#told.hints === this.#hints ? this.#told.bootId : undefined;
  }

  /** Takes what a page of the engine's metrics tells of its limits. */
  noteMetrics(page: string): void {
    const maxLoras = maxLorasOf(page) ?? this.#view.maxLoras;
    if (this.#view.ready) this.#set({ ...this.#view, maxLoras });
  }

  onChange(listener: (view: EngineView) => void): void {
    this.#listeners.push(listener);
  }

  /** Looks every half second until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.refresh(signal);
      await sleep(PERIOD_MS, signal);
    }
  }

  /**
   * Looks now. The view that it returns is not older than this call.
   *
   * @param answered - the engine has just answered another call: its list alone tells enough, where it gives one
   */
  async refresh(signal: AbortSignal, { answered = false }: { readonly answered?: boolean } = {}): Promise<EngineView> {
    return await this.#one(async () => {
      if (signal.aborted) return this.#view;
      const next = (answered ? await this.#glance(signal) : undefined) ?? (await this.#look(signal));
      if (!signal.aborted) this.#set(next);
      return this.#view;
    });
  }

  /** A look at an engine that is up; `undefined` where its list cannot be had. */
  async #glance(signal: AbortSignal): Promise<EngineView | undefined> {
    if (!this.#view.ready) return undefined;
    const next = await this.#listing(this.#view, signal);
    return next.message === undefined ? next : undefined;
  }

  async #look(signal: AbortSignal): Promise<EngineView> {
    const before = this.#view;
    try {
      await this.#health(signal);
      this.#timeouts = 0;
    } catch (error) {
      this.#timeouts += 1;
      if (before.ready && networkCode(error) === "TIMEOUT" && this.#timeouts < TIMEOUTS_UNTIL_GONE) return before;
      this.#hints += 1;
      return { ...before, ready: false, message: messageOf(error), models: undefined, unauthorized: false };
    }
    return await this.#listing(before, signal);
  }

  async #listing(before: EngineView, signal: AbortSignal): Promise<EngineView> {
    await this.#keys.reload();
    const listed = await this.#list(before, signal);
    const shrank = listed.models !== undefined && [...(before.models?.keys() ?? [])].some((id) => listed.models?.has(id) === false);
    if (shrank) this.#hints += 1;
    const bootId = this.#told.hints === this.#hints ? this.#told.bootId : await this.#readBootId(before.bootId, signal);
    const baseModels = listed.models === undefined ? before.baseModels : baseNames(listed.models);
    // Another process may have other settings.
    const maxLoras = bootId !== undefined && bootId === before.bootId ? this.#view.maxLoras : undefined;
    return { ready: true, ...listed, baseModels, bootId, maxLoras };
  }

  /** A server that closes an idle connection at the moment of a request is no outage: such a request is sent once more. */
  async #health(signal: AbortSignal): Promise<void> {
    try {
      await this.#engine.health(signal);
    } catch (error) {
      if (networkCode(error) !== "UND_ERR_SOCKET" && networkCode(error) !== "ECONNRESET") throw error;
      await this.#engine.health(signal);
    }
  }

  async #list(before: EngineView, signal: AbortSignal): Promise<Pick<EngineView, "models" | "unauthorized" | "message">> {
    for (const key of this.#keys.candidates()) {
      try {
        const models = await this.#engine.listModels(key, signal);
        this.#keys.worked(key);
        this.#failedLists = 0;
        return { models: new Map(models.map((m) => [m.id, m])), unauthorized: false, message: undefined };
      } catch (error) {
        if (error instanceof AdapterError && error.reason === "EngineUnauthorized") continue;
        // It is healthy but slow to list: what was seen last counts a little longer.
        this.#failedLists += 1;
        const models = before.ready && this.#failedLists < TIMEOUTS_UNTIL_GONE ? before.models : undefined;
        return { models, unauthorized: before.unauthorized, message: messageOf(error) };
      }
    }
    const message = `the engine wants an API key before it lists its models, and refuses those that it was given: set additionalConfig.${CONFIG_API_KEY} or apiKeySecretRef of an adapter to the key that the engine was started with`;
    return { models: undefined, unauthorized: true, message };
  }

  async #readBootId(before: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const hints = this.#hints;
    try {
      this.#told = { bootId: await this.#engine.bootId(signal), hints };
      return this.#told.bootId;
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, "the engine did not tell when it was started");
      return before;
    }
  }

  #set(next: EngineView): void {
    const before = this.#view;
    if (!differsBeyondAdapters(next, before) && sameAdapters(next, before) && next.maxLoras === before.maxLoras) return;
    this.#view = next;
    if (next.ready !== before.ready || next.message !== before.message)
      this.#log[next.ready && next.message === undefined ? "info" : "warn"](
        { engine: this.#engine.url, bootId: next.bootId, baseModels: next.baseModels },
        next.message ?? "the engine answers",
      );
    for (const listener of this.#listeners) listener(next);
  }
}

function baseNames(models: ReadonlyMap<string, EngineModel>): readonly string[] {
  return [...models.values()].filter((m) => m.parent === undefined).map((m) => m.id);
}

/** Whether two views differ in more than single adapters: in what concerns all of them. */
export function differsBeyondAdapters(a: EngineView, b: EngineView): boolean {
  return (
    a.ready !== b.ready ||
    a.message !== b.message ||
    a.unauthorized !== b.unauthorized ||
    a.bootId !== b.bootId ||
    (a.models === undefined) !== (b.models === undefined) ||
    a.baseModels.length !== b.baseModels.length ||
    a.baseModels.some((id, i) => id !== b.baseModels[i] || !sameModel(a.models?.get(id), b.models?.get(id)))
  );
}

/** Whether two entries of the engine's list say the same. vLLM gives each a new time and new ids at each call, so those do not count. */
export function sameModel(a: EngineModel | undefined, b: EngineModel | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.root === b.root && a.parent === b.parent);
}

function sameAdapters(a: EngineView, b: EngineView): boolean {
  if (a.models?.size !== b.models?.size) return false;
  for (const [id, model] of a.models ?? []) if (!sameModel(model, b.models?.get(id))) return false;
  return true;
}

/**
 * The view as the HTTP API shows it.
 *
 * @param maxLoraRank - the engine's `--max-lora-rank`, where the runtime was told
 */
export function engineStatus(engine: Engine, view: EngineView, maxLoraRank?: number): EngineStatus {
  const limits = {
    ...(view.maxLoras === undefined ? {} : { max_loras: view.maxLoras }),
    ...(maxLoraRank === undefined ? {} : { max_lora_rank: maxLoraRank }),
  };
  return {
    url: engine.url,
    kind: engine.kind,
    ready: view.ready,
    ...(view.message === undefined ? {} : { message: view.message }),
    base_models: [...view.baseModels],
    ...(view.bootId === undefined ? {} : { boot_id: view.bootId }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  };
}
