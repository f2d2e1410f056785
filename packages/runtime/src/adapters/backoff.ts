const FIRST_MS = 1_000;
const LONGEST_MS = 5 * 60_000;

/**
 * Milliseconds until the next try: 1 s doubling to 5 min, give or take a fifth so that many do not try at once.
 *
 * @param attempts - failed tries so far, 1 or more
 * @param random - in [0, 1)
 */
export function backoffMs(attempts: number, random: number): number {
  const base = Math.min(FIRST_MS * 2 ** Math.min(attempts - 1, 20), LONGEST_MS);
  return Math.round(base * (0.8 + 0.4 * random));
}
