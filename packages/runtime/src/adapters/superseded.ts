import { requestsOf } from "@aibrix/api";

/**
 * How long an engine may still be about to begin with a request that it took before its adapter's content was replaced, in milliseconds: it is in
 * no number of the engine's metrics before it has been read, and what it refers to, images say, has been fetched.
 */
const STRAGGLER_MS = 60_000;

/**
 * Contents that an engine was given under a name, and that others have replaced there. Requests that it took before may read their files; a name
 * that is seen without requests, long enough after, has none of those left.
 */
export class Superseded {
  readonly #sinceMs = new Map<string, Map<string, number>>();

  /** Notes all such contents of a name, after one of them was replaced or has come back. */
  note(name: string, digests: readonly string[], nowMs: number): void {
    const before = this.#sinceMs.get(name);
    if (digests.length === 0) this.#sinceMs.delete(name);
    else this.#sinceMs.set(name, new Map(digests.map((digest) => [digest, before?.get(digest) ?? nowMs])));
  }

  /** Takes out those that the engine cannot read any more, as a page of its metrics shows that was asked for at `askedMs`. */
  take(page: string, askedMs: number): ReadonlyMap<string, readonly string[]> {
    const taken = new Map<string, readonly string[]>();
    for (const [name, contents] of this.#sinceMs) {
      const old = [...contents].flatMap(([digest, sinceMs]) => (sinceMs + STRAGGLER_MS <= askedMs ? [digest] : []));
      if (old.length === 0 || requestsOf(page, name) !== "none") continue;
      taken.set(name, old);
      for (const digest of old) contents.delete(digest);
      if (contents.size === 0) this.#sinceMs.delete(name);
    }
    return taken;
  }

  /** What an engine's process was given that is gone nobody reads. */
  onAnotherEngine(): void {
    this.#sinceMs.clear();
  }

  forget(name: string): void {
    this.#sinceMs.delete(name);
  }
}
