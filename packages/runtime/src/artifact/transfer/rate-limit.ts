/** A token bucket over all downloads of the process. It holds what a second gives, so that a pause is not made up for by a burst. */
export class RateLimit {
  readonly #bytesPerSecond: number;
  readonly #now: () => number;
  #tokens: number;
  #filledMs: number;

  /**
   * @param bytesPerSecond - `Infinity` limits nothing
   * @param now - a clock that never jumps, in milliseconds
   */
  constructor(bytesPerSecond: number, now: () => number = () => performance.now()) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#now = now;
    this.#tokens = bytesPerSecond;
    this.#filledMs = now();
  }

  /** Takes bytes that came; the milliseconds to wait, because they came too early. */
  owe(bytes: number): number {
    if (this.#bytesPerSecond === Number.POSITIVE_INFINITY) return 0;
    const now = this.#now();
    this.#tokens = Math.min(this.#bytesPerSecond, this.#tokens + ((now - this.#filledMs) / 1000) * this.#bytesPerSecond);
    this.#filledMs = now;
    this.#tokens -= bytes;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#bytesPerSecond) * 1000;
  }
}
