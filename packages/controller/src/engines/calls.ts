import type { Reason } from "@aibrix/api";
import { type BackoffOptions, backoffMs, type Log } from "@aibrix/kube";
import pLimit, { type LimitFunction } from "p-limit";
import { CallCancelled, CallError } from "./agent.ts";

/** What is asked of a pod. `prepare`: that content is fetched and checked beside what serves. `release`: that it gives an adapter up that was loaded the other way, before our flags were changed. */
export type CallKind = "load" | "prepare" | "unload" | "release";

/** A call that failed. */
export interface CallFailure {
  readonly kind: CallKind;
  /** Of what was asked for; where it failed for good, with the run of the engine. */
  readonly fingerprint: string;
  readonly reason: Reason;
  readonly message: string;
  readonly retryable: boolean;
  /** Failures in a row. */
  readonly attempts: number;
  /** When it is tried again, in milliseconds since the epoch; `undefined` where only a change from outside helps. */
  readonly retryAtMs: number | undefined;
}

/** A call that was accepted, and whose effect the pod has not shown yet. */
export interface Accepted {
  readonly fingerprint: string;
  /** How often in a row. */
  readonly times: number;
  /** Until then the pod has time to show it, in milliseconds since the epoch. */
  readonly settledAtMs: number;
  /** When it is said again where nothing shows. */
  readonly againAtMs: number;
}

/** How long what a pod shows may lag behind a call that it accepted, in milliseconds. */
export const SETTLE_MS = 2_000;

/** What we asked of one pod for one adapter. */
export interface CallState {
  readonly running: CallKind | undefined;
  /** The last call that was accepted. */
  readonly done:
    | {
        readonly kind: CallKind;
        readonly fingerprint: string;
        readonly atMs: number;
        /** Which pods it named that have the content. */
        readonly peers?: readonly string[];
      }
    | undefined;
  readonly accepted: Readonly<Partial<Record<CallKind, Accepted>>>;
  readonly failure: CallFailure | undefined;
  /** Until when the unload that runs, or was accepted last, lets requests go on, in milliseconds since the epoch. */
  readonly drainUntilMs?: number | undefined;
}

export interface CallsOptions {
  /** Called when a call has ended, well or not. */
  readonly onDone: (pod: CalledPod, name: string, outcome: CallOutcome) => void;
  /** Called when a call has ended that was cancelled before it did anything. */
  readonly onCancelled?: (pod: CalledPod, name: string) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly backoff?: BackoffOptions | undefined;
  /** See {@link SETTLE_MS}. */
  readonly settleMs?: number | undefined;
}

export interface CalledPod {
  readonly key: string;
  readonly namespace: string;
  readonly uid: string;
}

export interface CallOutcome {
  readonly kind: CallKind;
  readonly ok: boolean;
  readonly durationMs: number;
  /** 1, or more where the same was asked for in vain before. */
  readonly attempt: number;
}

export interface NewCall {
  readonly kind: CallKind;
  readonly pod: CalledPod;
  readonly name: string;
  readonly fingerprint: string;
  /** What a failure for good is remembered by. */
  readonly refusalFingerprint: string;
  /** Which pods it names that have the content, see {@link CallState}. */
  readonly peers?: readonly string[];
  /** An engine takes one load at a time; a sidecar queues by itself. */
  readonly atOnce: number;
  /** Of an unload, see {@link CallState}. */
  readonly drainUntilMs?: number;
  /** @param cancelled - what waits still ends with a {@link CallCancelled}; what has begun goes on */
  readonly run: (signal: AbortSignal, cancelled: AbortSignal) => Promise<void>;
}

const NOTHING: CallState = { running: undefined, done: undefined, accepted: {}, failure: undefined };
const BACKOFF: BackoffOptions = { baseMs: 1_000, maxMs: 300_000 };

/**
 * Calls to pods, each in the background: a pod that hangs delays nothing but itself. At most one call for an adapter on a pod at a time;
 * failures are remembered and back off, 1 s to 5 min.
 */
export class PodCalls {
  readonly #options: CallsOptions;
  readonly #states = new Map<string, Map<string, CallState>>();
  /** Loads wait for loads only: one that takes minutes holds up nothing that leaves. */
  readonly #limits = new Map<string, { readonly loads: LimitFunction; readonly others: LimitFunction }>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #cancels = new Map<string, AbortController>();

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  state(podUid: string, name: string): CallState {
    return this.#states.get(podUid)?.get(name) ?? NOTHING;
  }

  /** Takes over what an earlier process wrote down, where this one knows nothing yet. */
  recall(podUid: string, name: string, { done, failure }: Pick<CallState, "done" | "failure">): void {
    if (done === undefined && failure === undefined) return;
    if (this.#states.get(podUid)?.has(name) !== true) this.#set(podUid, name, { ...NOTHING, done, failure });
  }

  /** Starts a call, unless one for this adapter is running on the pod. */
  start(c: NewCall): void {
    const before = this.state(c.pod.uid, c.name);
    if (before.running !== undefined) return;
    this.#set(c.pod.uid, c.name, { ...before, running: c.kind, drainUntilMs: c.drainUntilMs });
    const limit = this.#limit(c);
    const cancel = new AbortController();
    const key = keyOf(c.pod.uid, c.name);
    this.#cancels.set(key, cancel);
    const task = limit(() => this.#run(c, cancel.signal)).finally(() => {
      this.#tasks.delete(task);
      if (this.#cancels.get(key) === cancel) this.#cancels.delete(key);
    });
    this.#tasks.add(task);
  }

  /** Nobody wants what a call is for any more: where it only waits it ends, with no outcome. */
  cancel(podUid: string, name: string): void {
    this.#cancels.get(keyOf(podUid, name))?.abort();
  }

  /** The pod shows what a call was for: what was accepted or failed before counts no more. */
  shown(podUid: string, name: string, kind: CallKind): void {
    const before = this.#states.get(podUid)?.get(name);
    if (before === undefined) return;
    const { [kind]: accepted, ...others } = before.accepted;
    const failure = before.failure?.kind === kind ? undefined : before.failure;
    if (accepted !== undefined || failure !== before.failure) this.#set(podUid, name, { ...before, accepted: others, failure });
  }

  /** Forgets an adapter that is gone from a pod, unless a call is running. */
  forget(podUid: string, name: string): void {
    if (this.state(podUid, name).running === undefined) this.#states.get(podUid)?.delete(name);
  }

  /** Forgets a pod that is gone. */
  forgetPod(podUid: string): void {
    this.#states.delete(podUid);
    this.#limits.delete(podUid);
  }

  /** Waits for what runs; its signal should have aborted. */
  async close(): Promise<void> {
    await Promise.all(this.#tasks);
  }

  async #run(c: NewCall, cancelled: AbortSignal): Promise<void> {
    const { log, signal, onDone, onCancelled } = this.#options;
    const startMs = performance.now();
    const attempt = fruitless(c, this.state(c.pod.uid, c.name)) + 1;
    let failure: CallFailure | undefined;
    try {
      signal.throwIfAborted();
      if (cancelled.aborted) throw new CallCancelled();
      await c.run(signal, cancelled);
    } catch (error) {
      if (error instanceof CallCancelled && !signal.aborted) {
        const { drainUntilMs: _, ...before } = this.state(c.pod.uid, c.name);
        if (this.#states.has(c.pod.uid)) this.#set(c.pod.uid, c.name, { ...before, running: undefined });
        onCancelled?.(c.pod, c.name);
        return;
      }
      if (!signal.aborted) {
        failure = this.#failure(c, error);
        log.warn({ pod: c.pod.key, adapter: c.name, call: c.kind, reason: failure.reason, attempts: failure.attempts }, failure.message);
      }
    }
    if (signal.aborted) return;
    // A pod that was forgotten meanwhile stays so.
    if (!this.#states.has(c.pod.uid)) return;
    const before = this.state(c.pod.uid, c.name);
    if (failure !== undefined) this.#set(c.pod.uid, c.name, { ...before, running: undefined, failure });
    else {
      const atMs = Date.now();
      // What is only fetched says nothing about what a pod has.
      const done =
        c.kind === "prepare"
          ? before.done
          : { kind: c.kind, fingerprint: c.fingerprint, atMs, ...(c.peers === undefined ? {} : { peers: c.peers }) };
      const accepted = { ...before.accepted, [c.kind]: this.#accepted(c, before, atMs) };
      this.#set(c.pod.uid, c.name, { running: undefined, done, accepted, failure: undefined, drainUntilMs: c.drainUntilMs });
    }
    onDone(c.pod, c.name, { kind: c.kind, ok: failure === undefined, durationMs: performance.now() - startMs, attempt });
  }

  #limit({ kind, pod, atOnce }: NewCall): LimitFunction {
    let limits = this.#limits.get(pod.uid);
    if (limits === undefined) {
      limits = { loads: pLimit(atOnce), others: pLimit(atOnce) };
      this.#limits.set(pod.uid, limits);
    }
    return kind === "load" || kind === "prepare" ? limits.loads : limits.others;
  }

  #accepted(c: NewCall, before: CallState, atMs: number): Accepted {
    const times = fruitless(c, before) + 1;
    const settledAtMs = atMs + (this.#options.settleMs ?? SETTLE_MS);
    return {
      fingerprint: c.fingerprint,
      times,
      settledAtMs,
      againAtMs: Math.max(settledAtMs, atMs + backoffMs(this.#options.backoff ?? BACKOFF, times)),
    };
  }

  #failure(c: NewCall, error: unknown): CallFailure {
    const attempts = fruitless(c, this.state(c.pod.uid, c.name)) + 1;
    const known = error instanceof CallError;
    const retryable = known ? error.retryable : true;
    return {
      kind: c.kind,
      fingerprint: retryable ? c.fingerprint : c.refusalFingerprint,
      reason: known ? error.reason : "RuntimeUnavailable",
      message: error instanceof Error ? error.message : String(error),
      retryable,
      attempts,
      retryAtMs: retryable ? Date.now() + backoffMs(this.#options.backoff ?? BACKOFF, attempts) : undefined,
    };
  }

  #set(podUid: string, name: string, state: CallState): void {
    let names = this.#states.get(podUid);
    if (names === undefined) {
      names = new Map();
      this.#states.set(podUid, names);
    }
    names.set(name, state);
  }
}

function keyOf(podUid: string, name: string): string {
  return `${podUid}/${name}`;
}

/** How often in a row the same was asked for in vain: refused, or accepted and not shown. */
function fruitless(c: NewCall, { failure, accepted }: CallState): number {
  const failed = failure?.kind === c.kind && failure.fingerprint === c.fingerprint ? failure.attempts : 0;
  const taken = accepted[c.kind];
  return Math.max(failed, taken?.fingerprint === c.fingerprint ? taken.times : 0);
}
