/** The longest time that Node's timers take. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Keys that come up later; each has at most one time. */
export class DelayedKeys {
  readonly #timers = new Map<string, { readonly atMs: number; readonly timer: NodeJS.Timeout }>();
  readonly #onDue: (key: string) => void;

  constructor(onDue: (key: string) => void) {
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#timers.size;
  }

  /** Brings `key` up after `ms` milliseconds, or earlier if it was to come up earlier. */
  set(key: string, ms: number): void {
    const atMs = performance.now() + ms;
    const before = this.#timers.get(key);
    if (before !== undefined && before.atMs <= atMs) return;
    this.delete(key);
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.#onDue(key);
      },
      Math.min(ms, MAX_TIMER_MS),
    );
    this.#timers.set(key, { atMs, timer });
  }

  delete(key: string): void {
    clearTimeout(this.#timers.get(key)?.timer);
    this.#timers.delete(key);
  }

  clear(): void {
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
