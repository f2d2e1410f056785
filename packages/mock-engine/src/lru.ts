/**
 * A cache of adapters: at most `capacity` entries, the least recently used one is dropped without a word.
 *
 * vLLM touches an adapter at every step of a request that uses it, so one that runs is only dropped when all of them run.
 */
export class AdapterCache<V> {
  readonly #entries = new Map<number, V>();
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The entry, made the most recently used one. */
  get(id: number): V | undefined {
    const value = this.#entries.get(id);
    if (value === undefined) return undefined;
    this.#entries.delete(id);
    this.#entries.set(id, value);
    return value;
  }

  /** The entry, without making it the most recently used one. */
  peek(id: number): V | undefined {
    return this.#entries.get(id);
  }

  drop(id: number): void {
    this.#entries.delete(id);
  }

  /** Adds or replaces an entry; returns the id that had to go for it. */
  put(id: number, value: V, isRunning: (id: number) => boolean): number | undefined {
    this.#entries.delete(id);
    const evicted = this.#entries.size >= this.#capacity ? this.#oldest(isRunning) : undefined;
    if (evicted !== undefined) this.#entries.delete(evicted);
    this.#entries.set(id, value);
    return evicted;
  }

  #oldest(isRunning: (id: number) => boolean): number | undefined {
    let first: number | undefined;
    for (const id of this.#entries.keys()) {
      if (!isRunning(id)) return id;
      first ??= id;
    }
    return first;
  }
}
