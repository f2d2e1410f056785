import { DRAIN, requestsOf } from "@aibrix/api";
import { type Logger, sleep } from "@aibrix/service";
import type { Engine } from "../engine/engine.ts";
import { messageOf } from "../errors.ts";

interface Drain {
  readonly firstLookMs: number;
  readonly onDrained: () => void;
}

export interface DrainsDeps {
  readonly engine: Pick<Engine, "metrics">;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
}

/**
 * Looks whether adapters that are to be unloaded have requests, by the engine's metrics: twice a second for all of them, and only while there
 * is one. An engine whose metrics cannot be read tells nothing, and the grace decides.
 */
export class Drains {
  readonly #deps: DrainsDeps;
  readonly #drains = new Map<string, Drain>();
  #running: Promise<void> | undefined;

  constructor(deps: DrainsDeps) {
    this.#deps = deps;
  }

  /** @param onDrained - called once, when no request of that name runs or waits; not where {@link forget} came before */
  add(name: string, onDrained: () => void, signal: AbortSignal): void {
    this.#drains.set(name, { firstLookMs: this.#deps.now() + DRAIN.firstLookMs, onDrained });
    this.#running ??= this.#run(signal).finally(() => {
      this.#running = undefined;
    });
  }

  forget(name: string): void {
    this.#drains.delete(name);
  }

  /** Waits for the last look; its signal should have aborted. */
  async close(): Promise<void> {
    this.#drains.clear();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { engine, log, now } = this.#deps;
    while (this.#drains.size > 0 && (await sleep(this.#nextMs(), signal))) {
      // A drain that began after the page was asked for is none of its affair.
      const due = [...this.#drains].filter(([, d]) => d.firstLookMs <= now());
      if (due.length === 0) continue;
      try {
        const page = await engine.metrics(signal);
        for (const [name, drain] of due) {
          if (this.#drains.get(name) !== drain || requestsOf(page, name) !== "none") continue;
          this.#drains.delete(name);
          drain.onDrained();
        }
      } catch (error) {
        log.debug({ error: messageOf(error) }, "the engine did not tell which adapters have requests");
      }
    }
  }

  #nextMs(): number {
    const firstMs = Math.min(...[...this.#drains.values()].map((d) => d.firstLookMs)) - this.#deps.now();
    return Math.max(firstMs, DRAIN.periodMs);
  }
}
