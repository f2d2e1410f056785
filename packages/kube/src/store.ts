import { keyOf, type ObjectName } from "./resource.ts";
import type { KubeObject } from "./types.ts";

/** What happened to one object in a {@link Store}. `old` is what the store held before. */
export type Change<T> =
  | { readonly type: "added"; readonly key: string; readonly object: T; readonly old?: undefined }
  | { readonly type: "updated"; readonly key: string; readonly object: T; readonly old: T }
  | { readonly type: "deleted"; readonly key: string; readonly object?: undefined; readonly old: T };

/** Under which values an object is found. */
export type Indexer<T> = (object: T) => Iterable<string>;

export interface StoreOptions<T> {
  readonly indexes?: Readonly<Record<string, Indexer<T>>>;
  /** Told what a handler threw. Such an error never reaches the watch. */
  readonly onHandlerError: (error: unknown) => void;
}

interface Index<T> {
  readonly valuesOf: Indexer<T>;
  readonly keys: Map<string, Set<string>>;
}

const NONE: readonly string[] = [];

/**
 * The objects that a watch holds, by key (`namespace/name`) and by indexes. Objects are shared and must not be changed.
 * Handlers are called after the store changed, in the order of the changes.
 */
export class Store<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #indexes = new Map<string, Index<T>>();
  readonly #handlers = new Set<(change: Change<T>) => void>();
  readonly #onHandlerError: (error: unknown) => void;

  constructor({ indexes = {}, onHandlerError }: StoreOptions<T>) {
    this.#onHandlerError = onHandlerError;
    for (const [name, valuesOf] of Object.entries(indexes)) this.#indexes.set(name, { valuesOf, keys: new Map() });
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string | ObjectName): T | undefined {
    return this.#objects.get(typeof key === "string" ? key : keyOf(key));
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  /**
   * The objects that an index has under a value.
   *
   * @throws TypeError for an index that the store was not made with
   */
  byIndex(name: string, value: string): T[] {
    return [...this.keysByIndex(name, value)].flatMap((key) => this.#objects.get(key) ?? []);
  }

  /** Like {@link byIndex}, keys only. */
  keysByIndex(name: string, value: string): Iterable<string> {
    const index = this.#indexes.get(name);
    if (index === undefined) throw new TypeError(`the store has no index ${name}`);
    return index.keys.get(value) ?? NONE;
  }

  /** Calls `handler` for every change from now on, and once as `added` for what is there. Returns how to stop that. */
  onChange(handler: (change: Change<T>) => void): () => void {
    this.#handlers.add(handler);
    for (const [key, object] of this.#objects) this.#tell(handler, { type: "added", key, object });
    return () => void this.#handlers.delete(handler);
  }

  /** Puts an object in, in place of the one with its key. The same version again is no change. */
  set(object: T): void {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    if (old !== undefined && sameVersion(old, object)) return;
    this.#objects.set(key, object);
    this.#reindex(key, old, object);
    this.#notify(old === undefined ? { type: "added", key, object } : { type: "updated", key, object, old });
  }

  /** Takes an object out. */
  delete(key: string): void {
    const old = this.#objects.get(key);
    if (old === undefined) return;
    this.#objects.delete(key);
    this.#reindex(key, old, undefined);
    this.#notify({ type: "deleted", key, old });
  }

  /** Makes the store hold just these objects; handlers hear the differences. */
  replace(objects: readonly T[]): void {
    const keep = new Set(objects.map(keyOf));
    for (const key of [...this.#objects.keys()]) if (!keep.has(key)) this.delete(key);
    for (const object of objects) this.set(object);
  }

  #reindex(key: string, old: T | undefined, object: T | undefined): void {
    for (const { valuesOf, keys } of this.#indexes.values()) {
      for (const value of old === undefined ? NONE : valuesOf(old)) {
        const set = keys.get(value);
        set?.delete(key);
        if (set?.size === 0) keys.delete(value);
      }
      for (const value of object === undefined ? NONE : valuesOf(object)) {
        const set = keys.get(value);
        if (set === undefined) keys.set(value, new Set([key]));
        else set.add(key);
      }
    }
  }

  #notify(change: Change<T>): void {
    for (const handler of this.#handlers) this.#tell(handler, change);
  }

  #tell(handler: (change: Change<T>) => void, change: Change<T>): void {
    try {
      handler(change);
    } catch (error) {
      this.#onHandlerError(error);
    }
  }
}

function sameVersion(a: KubeObject, b: KubeObject): boolean {
  const { uid, resourceVersion } = a.metadata;
  return resourceVersion !== undefined && resourceVersion === b.metadata.resourceVersion && uid === b.metadata.uid;
}
