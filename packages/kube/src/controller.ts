import { KubeError } from "./errors.ts";
import type { Reflector } from "./reflector.ts";
import type { Change, Store } from "./store.ts";
import { sleep } from "./time.ts";
import type { KubeObject, Log } from "./types.ts";
import { type Done, type Work, Workqueue, type WorkqueueOptions } from "./workqueue.ts";

export interface ControllerOptions {
  /** In logs and metrics. */
  readonly name: string;
  /** How many keys are worked on at a time. */
  readonly workers: number;
  /** Brings one object to its declared state; must find the same answer however often it is called. */
  readonly reconcile: Work;
  /** What must be in the caches before the first key is worked on. Somebody else runs these. */
  readonly reflectors: readonly Pick<Reflector<KubeObject>, "synced">[];
  /** Every key is worked on again after so many milliseconds, spread at random over that time. Never where absent. */
  readonly resync?: { readonly everyMs: number; readonly keys: () => Iterable<string> };
  readonly queue?: Omit<WorkqueueOptions, "onDone">;
  readonly log: Log;
  readonly onReconcile?: (done: Done) => void;
}

/** Watches stores, queues the keys that changes concern, and reconciles them. */
export class Controller {
  readonly queue: Workqueue;
  readonly #options: ControllerOptions;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.queue = new Workqueue({ ...options.queue, onDone: (key, done) => this.#done(key, done) });
  }

  /**
   * Queues keys for every change in a store.
   *
   * @param keysOf - which keys a change concerns; the changed object's own where absent
   * @returns how to stop that
   */
  follow<T extends KubeObject>(store: Store<T>, keysOf: (change: Change<T>) => Iterable<string> = (c) => [c.key]): () => void {
    return store.onChange((change) => {
      for (const key of keysOf(change)) this.queue.add(key);
    });
  }

  /** Waits for the caches, then reconciles until the signal aborts and what runs has ended. Rejects only if it aborts before the caches are filled. */
  async run(signal: AbortSignal): Promise<void> {
    const { name, workers, reconcile, reflectors, log } = this.#options;
    await Promise.all(reflectors.map((r) => r.synced(signal)));
    log.info({ controller: name, workers }, "the caches are filled: reconciling begins");
    await Promise.all([this.queue.run(workers, reconcile, signal), this.#resync(signal)]);
  }

  async #resync(signal: AbortSignal): Promise<void> {
    const { resync } = this.#options;
    if (resync === undefined) return;
    while (await sleep(resync.everyMs, signal)) {
      for (const key of resync.keys()) this.queue.addAfter(key, Math.random() * resync.everyMs);
    }
  }

  #done(key: string, done: Done): void {
    const { name, log, onReconcile } = this.#options;
    const { outcome, error } = done;
    onReconcile?.(done);
    if (outcome === "success" || outcome === "requeue") return;
    const fields = { controller: name, key, err: error };
    // Somebody else wrote first, or the server is away: daily life, told by the metrics.
    const usual = error instanceof KubeError && (error.conflict || error.status === 0 || error.status === 429);
    if (usual) log.debug(fields, "will try again");
    else if (outcome === "retry") log.warn(fields, "failed, will try again");
    else log.error(fields, "failed for good: waits for a change");
  }
}
