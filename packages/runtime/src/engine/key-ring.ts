import { readFile } from "node:fs/promises";

/** Keys that one look at the engine tries: a wrong one in each of many manifests must not become a storm of calls. */
const MOST_AT_ONCE = 8;

/**
 * The API keys that declarations brought, for the calls that belong to no single adapter (listing). They live in memory only.
 * The one that worked last is tried first.
 */
export class KeyRing {
  readonly #keys = new Map<string, string>();
  readonly #file: string | undefined;
  #mounted: string | undefined;
  #good: string | undefined;
  #from = 0;

  /** @param file - a mounted Secret with the engine's key, for adapters that bring none */
  constructor(file?: string) {
    this.#file = file;
  }

  /** Reads the mounted key anew: a Secret changes under a running pod. A file that cannot be read leaves what was known. */
  async reload(): Promise<void> {
    if (this.#file !== undefined) this.#mounted = (await readFile(this.#file, "utf8").catch(() => this.#mounted))?.trim() || undefined;
  }

  /** The key in the mounted file, as last read. */
  get mounted(): string | undefined {
    return this.#mounted;
  }

  /** Replaces what one adapter brought; `undefined` takes it away. */
  set(adapter: string, key: string | undefined): void {
    if (key === undefined) this.#keys.delete(adapter);
    else this.#keys.set(adapter, key);
  }

  /** What worked last; `undefined` stands for no key. */
  get good(): string | undefined {
    return this.#good;
  }

  /** Keys to try now, in order; where there are many, the next call gives the next ones. */
  candidates(): readonly (string | undefined)[] {
    const others = [...new Set(this.#keys.values())].filter((k) => k !== this.#good);
    const from = others.length > MOST_AT_ONCE ? this.#from % others.length : 0;
    this.#from = from + MOST_AT_ONCE;
    const some = [...others.slice(from), ...others.slice(0, from)].slice(0, MOST_AT_ONCE);
    return [...new Set([this.#good, undefined, this.#mounted, ...some])];
  }

  /** Remembers what worked. */
  worked(key: string | undefined): void {
    this.#good = key;
  }
}
