/** What requests that are held may have together. Their bodies are in Envoy's memory. */
export interface HoldLimits {
  readonly requests: number;
  /** Of their bodies. */
  readonly bytes: number;
}

export const HOLD_LIMITS: HoldLimits = { requests: 1_000, bytes: 256 * 1024 * 1024 };

/** One request that is held. */
export interface Hold {
  /** Gives its place back. */
  readonly end: () => void;
}

/** Requests that are held because the one engine that serves their adapter swaps its content. */
export class Holds {
  readonly #limits: HoldLimits;
  readonly #onShortened = new Set<() => void>();
  #bytes = 0;
  #untilMs = Number.POSITIVE_INFINITY;

  constructor(limits: HoldLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#onShortened.size;
  }

  /** When the last of them has to end, on the caller's monotonic clock. */
  get untilMs(): number {
    return this.#untilMs;
  }

  /**
   * Takes a place, or tells that there is none.
   *
   * @param bytes - of its body
   * @param onShortened - told when {@link Holds.untilMs} has become another
   */
  take(bytes: number, onShortened: () => void): Hold | undefined {
    if (this.size >= this.#limits.requests || this.#bytes + bytes > this.#limits.bytes) return undefined;
    this.#bytes += bytes;
    this.#onShortened.add(onShortened);
    return {
      end: () => {
        if (this.#onShortened.delete(onShortened)) this.#bytes -= bytes;
      },
    };
  }

  /** Lets none of them, nor of those to come, go on for longer. */
  shorten(untilMs: number): void {
    this.#untilMs = untilMs;
    for (const tell of [...this.#onShortened]) tell();
  }
}
