import pLimit, { type LimitFunction } from "p-limit";
import type { Progress } from "../artifact/transfer/meter.ts";

/** A source that gives less than this keeps no place that others wait for, once it had so long to begin. */
const DRIP_BYTES_PER_SECOND = 64 * 1024;
export const DRIP_MS = 5_000;
/** How often {@link drips} is to be asked, in milliseconds. */
export const DRIP_PERIOD_MS = 1_000;

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
 * Whether a source only drips, or is silent.
 *
 * @param progress - `undefined` where nothing has come yet
 * @param sinceMs - for how long the fetch has run, in milliseconds
 */
export function drips(progress: Pick<Progress, "bytesPerSecond"> | undefined, sinceMs: number): boolean {
  return sinceMs >= DRIP_MS && (progress?.bytesPerSecond ?? 0) < DRIP_BYTES_PER_SECOND;
}
