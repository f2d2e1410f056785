import type { KubeObject } from "@aibrix/kube";

/**
 * How long what was written counts where the cache has nothing of that name, in milliseconds. What is missing for longer was deleted while
 * nobody could tell us, and the list after that outage says nothing of what it never had. An older version in the cache proves nothing: it is
 * a watch that is silent, and whatever comes next is newer.
 */
export const BELIEVED_MS = 60_000;

/**
 * What this program wrote and its cache does not hold yet, so that it never decides on an older state than it made itself.
 * Versions are compared as numbers, which Kubernetes guarantees for objects of one kind since 1.35 and etcd gave before.
 */
export class OwnWrites<T extends KubeObject> {
  readonly #now: () => number;
  readonly #written = new Map<string, { readonly object: T; readonly atMs: number }>();
  /** Deleted by us: uid by key. */
  readonly #deleted = new Map<string, string | undefined>();

  /** @param now - a clock in milliseconds that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The newer of what the cache holds and what was written; `undefined` for what was deleted. Forgets what the cache has caught up with. */
  latest(key: string, cached: T | undefined): T | undefined {
    if (this.#deleted.has(key)) {
      if (cached !== undefined && cached.metadata.uid === this.#deleted.get(key)) return undefined;
      this.#deleted.delete(key);
    }
    const written = this.#written.get(key);
    if (written === undefined) return cached;
    const caughtUp = cached !== undefined && version(cached) >= version(written.object);
    if (caughtUp || (cached === undefined && this.#now() - written.atMs > BELIEVED_MS)) {
      this.#written.delete(key);
      return cached;
    }
    return written.object;
  }

  /** Takes note of what the API server answered to a write. */
  wrote(key: string, object: T): void {
    this.#deleted.delete(key);
    this.#written.set(key, { object, atMs: this.#now() });
  }

  deleted(key: string, uid: string | undefined): void {
    this.#written.delete(key);
    this.#deleted.set(key, uid);
  }

  /** Keys of what was written and may be missing in the cache. */
  keys(): Iterable<string> {
    return this.#written.keys();
  }

  /** The cache says that this was deleted, or somebody else wrote: what was written no longer counts. */
  forget(key: string): void {
    this.#written.delete(key);
    this.#deleted.delete(key);
  }
}

function version(object: KubeObject): bigint {
  return BigInt(object.metadata.resourceVersion ?? "0");
}
