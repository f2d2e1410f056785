import pLimit, { type LimitFunction } from "p-limit";
import type { Progress } from "../artifact/transfer/meter.ts";

/** A source that has given less than this for so long keeps no place that others wait for. */
const DRIP_BYTES_PER_SECOND = 64 * 1024;
const DRIP_MS = 30_000;

/** A bounded number of places for work. What turns out to be slow for no fault of ours goes on beside them, so that the rest need not wait for it. */
export class Places {
  readonly #limit: LimitFunction;
  readonly #maxBeside: number;
  #beside = 0;

  /**
   * @param places - for work that nobody has to wait long for
   * @param maxBeside - for work that gave up its place; beyond that it keeps it
   */
  constructor(places: number, maxBeside: number) {
    this.#limit = pLimit(places);
    this.#maxBeside = maxBeside;
  }

  /**
   * Runs work once there is a place for it.
   *
   * @param work - calls `leave` to give its place to others; it may do so again and again
   */
  async run<T>(work: (leave: () => void) => Promise<T>): Promise<T> {
    const done = Promise.withResolvers<T>();
    const turn = this.#limit(async () => {
      const left = Promise.withResolvers<void>();
      let isBeside = false;
      const leave = () => {
        if (isBeside || this.#beside === this.#maxBeside) return;
        isBeside = true;
        this.#beside += 1;
        left.resolve();
      };
      const ended = work(leave)
        .then(done.resolve, done.reject)
        .finally(() => {
          if (isBeside) this.#beside -= 1;
        });
      await Promise.race([ended, left.promise]);
    });
    turn.catch(done.reject);
    return await done.promise;
  }
}

/**
 * Whether a source only drips: it is not silent, and its artifact will not be here for hours.
 *
 * @param sinceMs - for how long the download has run, in milliseconds
 */
export function drips({ bytesPerSecond }: Progress, sinceMs: number): boolean {
  return sinceMs >= DRIP_MS && bytesPerSecond < DRIP_BYTES_PER_SECOND;
}
