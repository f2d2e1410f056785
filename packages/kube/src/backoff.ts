/** Exponential backoff in milliseconds: `baseMs`, doubled with every failure, at most `maxMs`. */
export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * The wait after the n-th failure in a row (from 1). Jitter takes off up to half of it, so that many clients of a server that came back do
 * not call in step.
 */
export function backoffMs({ baseMs, maxMs }: BackoffOptions, failures: number, random: () => number = Math.random): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 40));
  return Math.round(full * (1 - random() / 2));
}
