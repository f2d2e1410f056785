/** How far the wall clock may drift from the one that never jumps before times are told by its new setting, in milliseconds. */
const DRIFT_MS = 1_000;

/**
 * Tells people the times of a clock that never jumps. Where somebody sets the wall clock, times follow; until then the same time is told
 * the same way again and again.
 *
 * @param now - the clock that never jumps, in milliseconds
 * @param wall - in milliseconds since the epoch
 * @returns milliseconds since the epoch for a time of `now`
 */
export function wallTime(now: () => number, wall: () => number): (ms: number) => number {
  let ahead = wall() - now();
  return (ms) => {
    const seen = wall() - now();
    if (Math.abs(seen - ahead) > DRIFT_MS) ahead = seen;
    return Math.round(ms + ahead);
  };
}
