import type { KubeObject } from "@aibrix/kube";

/**
 * What this program wrote and its cache does not hold yet, so that it never decides on an older state than it made itself.
 * Versions are compared as numbers, which Kubernetes guarantees for objects of one kind since 1.35 and etcd gave before.
 */
export class OwnWrites<T extends KubeObject> {
  readonly #written = new Map<string, T>();
  /** Deleted by us: uid by key. */
  readonly #deleted = new Map<string, string | undefined>();

  /** The newer of what the cache holds and what was written; `undefined` for what was deleted. Forgets what the cache has caught up with. */
  latest(key: string, cached: T | undefined): T | undefined {
    if (this.#deleted.has(key)) {
      if (cached !== undefined && cached.metadata.uid === this.#deleted.get(key)) return undefined;
      this.#deleted.delete(key);
    }
    const written = this.#written.get(key);
    if (written === undefined) return cached;
    if (cached !== undefined && version(cached) >= version(written)) {
      this.#written.delete(key);
      return cached;
    }
    return written;
  }

  /** Takes note of what the API server answered to a write. */
  wrote(key: string, object: T): void {
    this.#deleted.delete(key);
    this.#written.set(key, object);
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
