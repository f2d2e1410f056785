import { type BackoffOptions, backoffMs } from "./backoff.ts";
import { DelayedKeys } from "./delayed-keys.ts";
import { isRetryable, retryAfterMs } from "./errors.ts";
import { Deadline, StopNow } from "./time.ts";

/** What to do after a key was worked on. */
export interface Result {
  /** Work on it again after so many milliseconds, even if nothing happens. */
  readonly requeueAfterMs?: number | undefined;
}

/** How the work on a key ended. */
export type Outcome = "success" | "requeue" | "retry" | "terminal";

/** The work on a key, once it has ended. */
export interface Done {
  readonly outcome: Outcome;
  /** How long the key waited for a worker, in milliseconds. */
  readonly waitedMs: number;
  readonly durationMs: number;
  readonly error: unknown;
}

export interface WorkqueueOptions {
  readonly backoff?: BackoffOptions;
  /** Deadline for the work on one key, in milliseconds; its signal aborts then. 5 minutes where absent. */
  readonly workMs?: number;
  /** How long running work may go on after the queue is asked to stop, in milliseconds. 10 s where absent. */
  readonly drainMs?: number;
  readonly onDone?: (key: string, done: Done) => void;
  readonly random?: () => number;
}

/** What the queue is asked to do for one key. Must end soon after its signal aborts. */
export type Work = (key: string, signal: AbortSignal) => Promise<Result | undefined>;

export const WORKQUEUE_BACKOFF: BackoffOptions = { baseMs: 50, maxMs: 300_000 };

/** Of two keys that wait, an urgent one goes first; but every eighth is one that can wait, so that these come too. */
export type Urgency = "urgent" | "canWait";

const PATIENCE = 8;

/**
 * Keys to work on. A key waits at most once; it is never worked on twice at the same time; a key that is added while it is worked on is
 * worked on once more. Failed keys come back with a backoff of their own, so that one that always fails delays no other.
 */
export class Workqueue {
  readonly #options: WorkqueueOptions;
  /** Keys to work on, oldest first, with the time of their adding. */
  readonly #waiting: Readonly<Record<Urgency, Map<string, number>>> = { urgent: new Map(), canWait: new Map() };
  /** How many urgent ones in a row were taken while others waited. */
  #urgentInRow = 0;
  readonly #running = new Set<string>();
  /** Added while running. */
  readonly #again: Readonly<Record<Urgency, Map<string, number>>> = { urgent: new Map(), canWait: new Map() };
  readonly #failures = new Map<string, number>();
  /** What callers asked for. */
  readonly #later: DelayedKeys;
  /** The same, for what can wait. */
  readonly #laterCanWait: DelayedKeys;
  /** What results and failures asked for: the next work on the key decides anew. */
  readonly #due: DelayedKeys;
  /** When work ended, or was there again, the last time. */
  #progressMs = 0;
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(options: WorkqueueOptions = {}) {
    this.#options = options;
    this.#later = new DelayedKeys((key) => this.add(key));
    this.#laterCanWait = new DelayedKeys((key) => this.add(key, "canWait"));
    this.#due = new DelayedKeys((key) => this.add(key));
  }

  /** Keys that wait for a worker. */
  get depth(): number {
    return [this.#waiting, this.#again].reduce((sum, { urgent, canWait }) => sum + urgent.size + canWait.size, 0);
  }

  /** Keys that are worked on. */
  get running(): number {
    return this.#running.size;
  }

  /** Keys that wait for their time. */
  get delayed(): number {
    return this.#later.size + this.#laterCanWait.size + this.#due.size;
  }

  /** For how long there has been work of which none ended, in milliseconds; 0 while there is none. */
  get stuckMs(): number {
    return this.depth + this.running === 0 ? 0 : performance.now() - this.#progressMs;
  }

  /** Adds a key, unless it waits already with that urgency or more. After the queue stopped, this does nothing. */
  add(key: string, urgency: Urgency = "urgent"): void {
    if (this.#stopped) return;
    if (this.depth + this.running === 0) this.#progressMs = performance.now();
    const { urgent, canWait } = this.#running.has(key) ? this.#again : this.#waiting;
    if (urgent.has(key) || (urgency === "canWait" && canWait.has(key))) return;
    // It has waited since it was added first.
    const sinceMs = canWait.get(key) ?? performance.now();
    canWait.delete(key);
    (urgency === "urgent" ? urgent : canWait).set(key, sinceMs);
    this.#wake?.();
  }

  /** Adds a key after `ms` milliseconds; of two times for one key, with the same urgency, the earlier holds. */
  addAfter(key: string, ms: number, urgency: Urgency = "urgent"): void {
    if (this.#stopped) return;
    if (ms <= 0) this.add(key, urgency);
    else (urgency === "urgent" ? this.#later : this.#laterCanWait).set(key, ms);
  }

  /** Forgets a key's failures: for an edit that deserves a prompt try. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /**
   * Works until the signal aborts, on at most `workers` keys at a time. Then hands out no more keys and waits for what runs: its signals
   * abort after `drainMs`, or at once where the reason is a {@link StopNow}. May be called once.
   */
  async run(workers: number, work: Work, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const drain = new Deadline(stop.signal);
    const tasks = new Set<Promise<void>>();
    const onAbort = () => {
      this.#stop();
      if (signal.reason instanceof StopNow) stop.abort(signal.reason);
      else drain.set(this.#options.drainMs ?? 10_000, "the queue stops");
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    while (!this.#stopped) {
      while (tasks.size < workers && !this.#stopped) {
        const next = this.#next();
        if (next === undefined) break;
        const [key, addedMs] = next;
        const task = this.#do(key, addedMs, work, drain.signal).finally(() => {
          tasks.delete(task);
          this.#wake?.();
        });
        tasks.add(task);
      }
      if (this.#stopped) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    await Promise.all(tasks);
    drain[Symbol.dispose]();
  }

  /** Takes out the key that is worked on next. */
  #next(): [key: string, addedMs: number] | undefined {
    const { urgent, canWait } = this.#waiting;
    const patient = canWait.size > 0 && (urgent.size === 0 || this.#urgentInRow >= PATIENCE - 1);
    const from = patient ? canWait : urgent;
    const next = from.entries().next();
    if (next.done === true) return undefined;
    this.#urgentInRow = patient || canWait.size === 0 ? 0 : this.#urgentInRow + 1;
    from.delete(next.value[0]);
    return next.value;
  }

  async #do(key: string, addedMs: number, work: Work, signal: AbortSignal): Promise<void> {
    this.#running.add(key);
    this.#due.delete(key);
    const startMs = performance.now();
    const workMs = this.#options.workMs ?? 300_000;
    using deadline = new Deadline(signal).set(workMs, `the work on ${key} took longer than ${workMs} ms`);
    let outcome: Outcome;
    let error: unknown;
    try {
      const result = await work(key, deadline.signal);
      this.#failures.delete(key);
      outcome = result?.requeueAfterMs === undefined ? "success" : "requeue";
      if (result?.requeueAfterMs !== undefined) this.#schedule(key, result.requeueAfterMs);
    } catch (thrown) {
      error = thrown;
      outcome = isRetryable(thrown) ? "retry" : "terminal";
      if (outcome === "retry") this.#retry(key, thrown);
      else this.#failures.delete(key);
    }
    this.#running.delete(key);
    this.#progressMs = performance.now();
    for (const urgency of ["urgent", "canWait"] as const) {
      const againMs = this.#again[urgency].get(key);
      if (this.#again[urgency].delete(key) && againMs !== undefined) this.#waiting[urgency].set(key, againMs);
    }
    this.#options.onDone?.(key, { outcome, waitedMs: startMs - addedMs, durationMs: performance.now() - startMs, error });
  }

  #retry(key: string, error: unknown): void {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const ownMs = backoffMs(this.#options.backoff ?? WORKQUEUE_BACKOFF, failures, this.#options.random);
    this.#schedule(key, Math.max(ownMs, retryAfterMs(error) ?? 0));
  }

  #schedule(key: string, ms: number): void {
    // At least a millisecond: a result of 0 must not keep other keys from their turn.
    if (!this.#stopped) this.#due.set(key, Math.max(1, ms));
  }

  #stop(): void {
    this.#stopped = true;
    for (const { urgent, canWait } of [this.#waiting, this.#again]) {
      urgent.clear();
      canWait.clear();
    }
    this.#later.clear();
    this.#laterCanWait.clear();
    this.#due.clear();
    this.#wake?.();
  }
}
