const FIRST_MS = 200;
const LONGEST_MS = 10_000;

/** A part that ran this long is taken as healthy: its next crash starts the count anew. */
export const STEADY_MS = 30_000;

/** How long to wait before a crashed part is started again, in milliseconds. Pure. */
export function restartDelayMs(crashesInARow: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, crashesInARow - 1));
}
