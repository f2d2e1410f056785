import type { Logger } from "@aibrix/service";
import type { EngineState, RoutingSink } from "../routing/types.ts";
import type { Endpoint } from "./config.ts";
import { listEngine } from "./engine-lister.ts";
import { followRuntime, SILENCE_MS } from "./runtime-follower.ts";
import type { SourceTimings } from "./source.ts";

/** See {@link SourceTimings}. */
const TIMINGS: SourceTimings = {
  silenceMs: SILENCE_MS,
  graceMs: 30_000,
  listPeriodMs: 2_000,
  callTimeoutMs: 5_000,
  backoffMs: [100, 5_000],
};

interface Running {
  readonly stop: AbortController;
  readonly done: Promise<void>;
  tried: boolean;
}

/** Keeps one source running for every endpoint of the configuration. */
export class EngineSources {
  readonly #running = new Map<string, Running & { readonly key: string }>();
  readonly #sink: RoutingSink;
  readonly #log: Logger;
  readonly #timings: SourceTimings;
  readonly #onTried: () => void;

  /** @param onTried - called whenever a source has tried for the first time */
  constructor(sink: RoutingSink, log: Logger, onTried: () => void, timings: SourceTimings = TIMINGS) {
    this.#sink = sink;
    this.#log = log;
    this.#onTried = onTried;
    this.#timings = timings;
  }

  /** Starts what is new, stops what is gone; what has not changed runs on undisturbed. */
  apply(endpoints: readonly Endpoint[]): void {
    const wanted = new Map(endpoints.map((endpoint) => [endpoint.engine, endpoint]));
    for (const [engine, running] of this.#running) {
      const endpoint = wanted.get(engine);
      if (endpoint !== undefined && JSON.stringify(endpoint) === running.key) continue;
      running.stop.abort();
      this.#running.delete(engine);
      this.#sink.remove(engine);
    }
    for (const endpoint of endpoints) if (!this.#running.has(endpoint.engine)) this.#start(endpoint);
    this.#onTried();
  }

  /** How many sources have not tried yet, of how many. */
  untried(): { readonly untried: number; readonly of: number } {
    const all = [...this.#running.values()];
    return { untried: all.filter((r) => !r.tried).length, of: all.length };
  }

  /** Stops every source and waits until they have ended. */
  async close(): Promise<void> {
    const all = [...this.#running.values()];
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map((r) => r.done));
  }

  #start(endpoint: Endpoint): void {
    const stop = new AbortController();
    // What was stopped may still have an event in its hands; it may not write over its successor.
    const sink: RoutingSink = {
      update: (engine, change) => {
        if (!stop.signal.aborted) this.#sink.update(engine, change);
      },
      remove: (engine) => this.#sink.remove(engine),
    };
    sink.update(endpoint.engine, { type: "state", state: unseen(endpoint) });
    const onTried = (): void => {
      if (running.tried) return;
      running.tried = true;
      this.#onTried();
    };
    const deps = { endpoint, sink, log: this.#log, timings: this.#timings, onTried };
    const { runtime } = endpoint;
    const work = runtime === undefined ? listEngine(deps, stop.signal) : followRuntime(runtime, deps, stop.signal);
    const running: Running & { readonly key: string } = {
      stop,
      tried: false,
      key: JSON.stringify(endpoint),
      done: work.catch((error: unknown) => this.#log.error({ err: error, engine: endpoint.engine }, "an engine is no longer followed")),
    };
    this.#running.set(endpoint.engine, running);
  }
}

/** Before anything was heard: the configured names are known, and nothing serves them. */
function unseen(endpoint: Endpoint): EngineState {
  return {
    address: undefined,
    notReady: "its engine has not answered yet",
    models: endpoint.models.map((id) => ({ id, kind: "base", root: id, createdSec: 0 })),
  };
}
