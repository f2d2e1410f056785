import { setTimeout } from "node:timers/promises";

/** Waits; returns `false` as soon as the signal aborts. Never rejects. */
export async function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  try {
    await setTimeout(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}

/** Waits until a signal aborts. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** A deadline on top of a signal: aborts with the signal, or after `ms` milliseconds with a `TimeoutError`. */
export function deadline(ms: number, signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ms)]);
}

/** Asks again and again, `everyMs` milliseconds apart; returns `false` where the signal aborts first. An error of `check` counts as no. */
export async function until(check: () => boolean | Promise<boolean>, everyMs: number, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    try {
      if (await check()) return true;
    } catch {
      // Not yet.
    }
    await sleep(everyMs, signal);
  }
  return false;
}

/** A span for people: `0.4 s`, `12.3 s`, `3m 5s`, `2h 4m`. */
export function span(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${Math.floor(seconds % 60)}s`;
  return `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
}
