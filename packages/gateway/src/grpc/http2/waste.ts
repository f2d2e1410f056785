/**
 * Bounds the time that one connection takes for nothing: calls that are reset before they have sent a message, pings, settings, empty
 * frames, frames of streams that are closed. A count of resets would not do: an Envoy may end each of ten thousand calls a second by one,
 * after its answer, which is no waste; and one whose clients go away while their calls wait is no attacker, however many they are: all its
 * clients' calls come on this connection. What an attacker takes is time, so that is measured: a turn's time counts by the share of its
 * events that came to nothing.
 */
export class Waste {
  readonly #burstMs: number;
  readonly #share: number;
  #wastedMs = 0;
  #atMs: number;
  #useful = 0;
  #futile = 0;

  /**
   * @param burstMs - milliseconds that may be wasted at once
   * @param share - of all time that may be wasted on and on
   */
  constructor(burstMs: number, share: number, nowMs: number) {
    this.#burstMs = burstMs;
    this.#share = share;
    this.#atMs = nowMs;
  }

  useful(): void {
    this.#useful += 1;
  }

  futile(): void {
    this.#futile += 1;
  }

  /**
   * Ends a turn.
   *
   * @returns whether too much was wasted
   */
  turn(startMs: number, endMs: number): boolean {
    const futile = this.#futile;
    const share = futile === 0 ? 0 : futile / (futile + this.#useful);
    this.#useful = 0;
    this.#futile = 0;
    if (share === 0) return false;
    const leaked = (startMs - this.#atMs) * this.#share;
    this.#atMs = startMs;
    this.#wastedMs = Math.max(this.#wastedMs - leaked, 0) + (endMs - startMs) * share;
    return this.#wastedMs > this.#burstMs;
  }
}
