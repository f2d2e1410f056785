import { type BackoffOptions, backoffMs } from "./backoff.ts";
import type { KubeClient, Selection } from "./client.ts";
import { isRetryable, KubeError, retryAfterMs } from "./errors.ts";
import { keyOf, type Resource } from "./resource.ts";
import { type Indexer, Store } from "./store.ts";
import { Deadline, orAborted, sleep } from "./time.ts";
import type { KubeObject, Log } from "./types.ts";

/** The clocks of a reflector, in milliseconds. Tests set small ones; production leaves them. */
export interface ReflectorTiming {
  /** The server ends a watch after a random time between these two, so that the watches of many clients spread. */
  readonly watchMs: readonly [min: number, max: number];
  /** How long after that time the client ends a watch that the server forgot. */
  readonly graceMs: number;
  /** A watch that sent bookmarks (the server sends one a minute) and then nothing for so long is dead. */
  readonly silenceMs: number;
  /** A watch that ended sooner, and brought nothing, counts as a failure. */
  readonly shortWatchMs: number;
  /** Deadline of one page of a list, and for a watch's headers. */
  readonly requestMs: number;
  readonly backoff: BackoffOptions;
}

export const REFLECTOR_TIMING: ReflectorTiming = {
  watchMs: [300_000, 600_000],
  graceMs: 10_000,
  silenceMs: 180_000,
  shortWatchMs: 1_000,
  requestMs: 60_000,
  backoff: { baseMs: 200, maxMs: 10_000 },
};

export interface ReflectorOptions<T extends KubeObject> extends Selection {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  /** What the store keeps of an object. Must keep name, namespace, uid and resourceVersion. Default: all but `managedFields`. */
  readonly transform?: (object: T) => T;
  readonly indexes?: Readonly<Record<string, Indexer<T>>>;
  readonly log: Log;
  readonly timing?: Partial<ReflectorTiming>;
  readonly random?: () => number;
}

/** How a reflector fares, for health checks and metrics. */
export interface ReflectorState {
  /** Whether the store has been filled once. */
  readonly synced: boolean;
  /** Whether the API server answered the last list or watch. */
  readonly connected: boolean;
  /** Since when it does not, or has not so far, on the steady clock; `undefined` while it does. */
  readonly disconnectedSinceMs: number | undefined;
  readonly lists: number;
  readonly watches: number;
  readonly failures: number;
  readonly lastError?: string;
}

/**
 * Keeps a {@link Store} equal to a collection of the API server: list, then watch, for ever.
 * Nothing ends it but its signal: a connection that drops or falls silent, an expired version, 429 and 5xx, a server that restarts.
 */
export class Reflector<T extends KubeObject> {
  readonly store: Store<T>;
  readonly #options: ReflectorOptions<T>;
  readonly #timing: ReflectorTiming;
  readonly #transform: (object: T) => T;
  readonly #random: () => number;
  readonly #firstSync = Promise.withResolvers<void>();
  #resourceVersion: string | undefined;
  #failuresInRow = 0;
  #state: ReflectorState = {
    synced: false,
    connected: false,
    disconnectedSinceMs: performance.now(),
    lists: 0,
    watches: 0,
    failures: 0,
  };

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#timing = { ...REFLECTOR_TIMING, ...options.timing };
    this.#transform = options.transform ?? withoutManagedFields;
    this.#random = options.random ?? Math.random;
    const resource = options.resource.plural;
    this.store = new Store<T>({
      ...(options.indexes === undefined ? {} : { indexes: options.indexes }),
      onHandlerError: (err) => options.log.error({ err, resource }, "a handler of changes threw"),
    });
  }

  /** What is watched, in the plural. */
  get resource(): string {
    return this.#options.resource.plural;
  }

  get state(): ReflectorState {
    return this.#state;
  }

  get hasSynced(): boolean {
    return this.#state.synced;
  }

  /** Waits until the store has been filled once. */
  async synced(signal: AbortSignal): Promise<void> {
    await orAborted(this.#firstSync.promise, signal);
  }

  /** Lists and watches until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#resourceVersion ??= await this.#list(signal);
        await this.#watch(this.#resourceVersion, signal);
      } catch (error) {
        if (signal.aborted) return;
        await this.#pause(error, signal);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    this.#state = { ...this.#state, lists: this.#state.lists + 1 };
    const items = new Map<string, T>();
    let resourceVersion: string | undefined;
    let continueToken: string | undefined;
    let whole = false;
    do {
      try {
        const page = await this.#options.client.listPage(
          this.#options.resource,
          { ...this.#options, ...(whole ? { limit: 0 } : {}), continueToken, timeoutMs: this.#timing.requestMs },
          signal,
        );
        resourceVersion = page.resourceVersion;
        continueToken = page.continueToken;
        for (const item of page.items) items.set(keyOf(item), this.#transform(item));
      } catch (error) {
        // The pages took longer than the server keeps versions: the next try takes all in one answer.
        if (!(error instanceof KubeError && error.expired) || continueToken === undefined || whole) throw error;
        whole = true;
        items.clear();
        resourceVersion = undefined;
        continueToken = undefined;
      }
    } while (resourceVersion === undefined || continueToken !== undefined);
    this.store.replace([...items.values()]);
    this.#connected();
    this.#state = { ...this.#state, synced: true };
    this.#firstSync.resolve();
    return resourceVersion;
  }

  async #watch(from: string, signal: AbortSignal): Promise<void> {
    const { watchMs, graceMs, shortWatchMs, requestMs, silenceMs } = this.#timing;
    const lifeMs = watchMs[0] + this.#random() * (watchMs[1] - watchMs[0]);
    const startMs = performance.now();
    const endMs = startMs + lifeMs + graceMs;
    this.#state = { ...this.#state, watches: this.#state.watches + 1 };
    using deadline = new Deadline(signal).set(lifeMs + graceMs, "the server did not end the watch in time");
    const livedMs = () => performance.now() - startMs;
    let progress = false;
    let bookmarked = false;
    try {
      const timeoutSeconds = Math.max(1, Math.ceil(lifeMs / 1000));
      const options = { ...this.#options, resourceVersion: from, timeoutSeconds, timeoutMs: requestMs, onOpen: () => this.#connected() };
      for await (const { type, object } of this.#options.client.watch(this.#options.resource, options, deadline.signal)) {
        this.#advance(object.metadata.resourceVersion);
        if (type === "DELETED") this.store.delete(keyOf(object));
        else if (type !== "BOOKMARK") this.store.set(this.#transform(object));
        if (type === "BOOKMARK") bookmarked = true;
        else progress = true;
        if (progress) this.#failuresInRow = 0;
        if (bookmarked) deadline.set(Math.min(silenceMs, endMs - performance.now()), "the watch fell silent");
      }
    } catch (error) {
      if (livedMs() >= 10 * shortWatchMs) this.#failuresInRow = 0;
      if (!signal.aborted && deadline.expired !== undefined) {
        const cause = deadline.expired;
        throw new KubeError(`watch of ${this.#options.resource.plural}: ${cause.message}`, { status: 0, reason: "Deadline", cause });
      }
      throw error;
    }
    if (!progress && livedMs() < shortWatchMs)
      throw new KubeError(`watch of ${this.#options.resource.plural}: ended at once`, { status: 0, reason: "NoAnswer" });
    this.#failuresInRow = 0;
  }

  /** Moves the version on; one that goes back is a server that lost data (a restored backup): the store is filled anew. */
  #advance(next: string | undefined): void {
    const [before, after] = [Number(this.#resourceVersion), Number(next)];
    if (after < before) throw new KubeError(`version went back from ${before} to ${after}`, { status: 410, reason: "Expired" });
    this.#resourceVersion = next;
  }

  #connected(): void {
    if (this.#state.connected) return;
    if (this.#state.synced) this.#options.log.info({ resource: this.#options.resource.plural }, "the API server answers again");
    this.#state = { ...this.#state, connected: true, disconnectedSinceMs: undefined };
  }

  /** After a failure: decides whether to list again, and waits. */
  async #pause(error: unknown, signal: AbortSignal): Promise<void> {
    const relist = error instanceof KubeError ? error.expired || error.reason === "Garbage" || !error.retryable : !isRetryable(error);
    if (relist) this.#resourceVersion = undefined;
    this.#failuresInRow++;
    const delayMs = Math.max(backoffMs(this.#timing.backoff, this.#failuresInRow, this.#random), retryAfterMs(error) ?? 0);
    const expired = error instanceof KubeError && error.expired;
    const message = error instanceof Error ? error.message : String(error);
    const disconnectedSinceMs = expired ? undefined : (this.#state.disconnectedSinceMs ?? performance.now());
    const failures = this.#state.failures + 1;
    this.#state = { ...this.#state, connected: expired, disconnectedSinceMs, failures, lastError: message };
    const fields = { resource: this.#options.resource.plural, err: error, delayMs, relist };
    if (expired || this.#failuresInRow === 1) this.#options.log.info(fields, "the watch ended and is begun again");
    else this.#options.log.warn(fields, "the API server cannot be watched");
    await sleep(delayMs, signal);
  }
}

/** An object without `managedFields`, which are large and which hardly anybody reads. */
export function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
