import { DRAIN, requestsOf, SwapRoom } from "@aibrix/api";
import { type Logger, sleep } from "@aibrix/service";
import type { Engine } from "../engine/engine.ts";
import { messageOf } from "../errors.ts";

interface Drain {
  /** A look before this says nothing about requests that are still on their way. */
  readonly firstLookMs: number;
  /** It may end before that, where the engine has room for old and new content. */
  readonly swaps: boolean;
  readonly onDrained: () => void;
  /** Told once, after the first look that did not end it. */
  onWaits: (() => void) | undefined;
}

export interface DrainsDeps {
  readonly engine: Pick<Engine, "metrics">;
  readonly log: Logger;
  /** Told of every page of the engine's metrics, and when it was asked for. */
  readonly onPage?: (page: string, askedMs: number) => void;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
}

/**
 * Looks whether adapters that are to be unloaded, or to make room for newer content, have requests, by the engine's metrics: twice a second for
 * all of them, and only while there is one. An engine whose metrics cannot be read tells nothing, and the grace decides.
 */
export class Drains {
  readonly #deps: DrainsDeps;
  readonly #drains = new Map<string, Drain>();
  readonly #room = new SwapRoom();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;

  constructor(deps: DrainsDeps) {
    this.#deps = deps;
  }

  /** @param onDrained - called once, when no request of that name runs or waits; not where {@link forget} came before */
  add(name: string, onDrained: () => void, signal: AbortSignal): void {
    this.#add(name, { firstLookMs: this.#deps.now() + DRAIN.firstLookMs, swaps: false, onDrained, onWaits: undefined }, signal);
  }

  /**
   * The same for a name whose content is to be swapped: also where the engine has slots for both besides what runs.
   *
   * @param unrouted - nobody sends requests there any more, but some may be on their way
   * @param onWaits - called once, where it has to wait: a look has found requests and no room, or could not be had
   */
  addSwap(name: string, unrouted: boolean, onDrained: () => void, onWaits: () => void, signal: AbortSignal): void {
    const { now } = this.#deps;
    this.#add(name, { firstLookMs: now() + (unrouted ? DRAIN.firstLookMs : 0), swaps: true, onDrained, onWaits }, signal);
  }

  /** The time of a swap is over, and requests may run still. */
  crowds(name: string): void {
    this.#room.crowds(name);
  }

  /** A page of the metrics that somebody looked at. */
  note(page: string): void {
    this.#room.note(page);
  }

  /** The engine is another process. */
  onAnotherEngine(): void {
    this.#room.clear();
  }

  #add(name: string, drain: Drain, signal: AbortSignal): void {
    this.#drains.set(name, drain);
    this.#running ??= this.#run(signal).finally(() => {
      this.#running = undefined;
    });
  }

  #isOver(page: string, name: string, drain: Drain): boolean {
    if (drain.firstLookMs <= this.#deps.now() && requestsOf(page, name) === "none") return true;
    return drain.swaps && this.#room.take(page, name);
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
      this.#lookedMs = now();
      // A drain that began after the page was asked for is none of its affair.
      const due = [...this.#drains].filter(([, d]) => d.swaps || d.firstLookMs <= now());
      if (due.length === 0) continue;
      try {
        const page = await engine.metrics(signal);
        this.note(page);
        this.#deps.onPage?.(page, this.#lookedMs);
        for (const [name, drain] of due) {
          if (this.#drains.get(name) !== drain) continue;
          if (!this.#isOver(page, name, drain)) {
            waits(drain);
            continue;
          }
          this.#drains.delete(name);
          drain.onDrained();
        }
      } catch (error) {
        for (const [, drain] of due) waits(drain);
        log.debug({ error: messageOf(error) }, "the engine did not tell which adapters have requests");
      }
    }
  }

  /** Old content waits for nobody but its requests, new content keeps its readers waiting: of a swap the end is looked for more often. */
  #nextMs(): number {
    const drains = [...this.#drains.values()];
    const sinceMs = this.#deps.now() - this.#lookedMs;
    if (drains.some((d) => d.swaps)) return Math.max(DRAIN.swapPeriodMs - sinceMs, 1);
    const firstMs = Math.min(...drains.map((d) => d.firstLookMs)) - this.#deps.now();
    return Math.max(firstMs, DRAIN.periodMs);
  }
}

function waits(drain: Drain): void {
  const { onWaits } = drain;
  drain.onWaits = undefined;
  onWaits?.();
}
