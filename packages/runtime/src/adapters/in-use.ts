import { adaptersInUse } from "@aibrix/api";
import { type Logger, sleep } from "@aibrix/service";
import type { Engine } from "../engine/engine.ts";
import type { EngineObserver } from "../engine/observer.ts";
import { messageOf } from "../errors.ts";
import type { Memory } from "./memory.ts";

/** How often the engine's metrics are looked at, in milliseconds. */
const PERIOD_MS = 10_000;
/** Looks between two writes of what they showed. */
const LOOKS_PER_WRITE = 6;

export interface UseWatchDeps {
  readonly engine: Engine;
  readonly observer: EngineObserver;
  readonly memory: Memory;
  readonly log: Logger;
  /** Told of every page of the engine's metrics, and when it was asked for. */
  readonly onPage: (page: string, askedMs: number) => void;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
}

/** Remembers which adapters have requests, as looks at the engine's metrics show it: those are put back first after a restart. */
export class UseWatch {
  readonly #deps: UseWatchDeps;

  constructor(deps: UseWatchDeps) {
    this.#deps = deps;
  }

  /** Looks again and again until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for (let looks = 1; await sleep(PERIOD_MS, signal); looks += 1) {
      await this.look(signal);
      if (looks % LOOKS_PER_WRITE === 0) await this.#deps.memory.flush();
    }
    await this.#deps.memory.flush();
  }

  async look(signal: AbortSignal): Promise<void> {
    const { engine, observer, memory, log, onPage, now } = this.#deps;
    if (!observer.view.ready) return;
    try {
      const askedMs = now();
      const page = await engine.metrics(signal);
      memory.used(adaptersInUse(page));
      observer.noteMetrics(page);
      onPage(page, askedMs);
    } catch (error) {
      log.debug({ error: messageOf(error) }, "the engine did not tell which adapters have requests");
    }
  }
}
