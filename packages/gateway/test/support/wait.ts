import { setTimeout as delay } from "node:timers/promises";

/** Waits until `check` gives something truthy; fails after `timeoutMs` with what it gave or threw last. */
export async function until<T>(what: string, check: () => Promise<T> | T, timeoutMs = 20_000): Promise<NonNullable<T>> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < end) {
    try {
      const value = await check();
      if (value) return value as NonNullable<T>;
      last = value;
    } catch (error) {
      last = error;
    }
    await delay(20);
  }
  throw new Error(`waited ${timeoutMs} ms in vain until ${what}; last: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
}
