import { setTimeout } from "node:timers/promises";

/** Waits; returns `false` as soon as the signal aborts. Never rejects. */
export async function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await setTimeout(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}

/** A deadline on top of a signal: aborts with the signal, or after `ms` milliseconds with a `TimeoutError`. */
export function deadline(ms: number, signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ms)]);
}
