/** An abort reason that leaves no time to finish what runs. */
export class StopNow extends Error {
  override readonly name: string = "StopNow";
}

/** Waits; returns `false` as soon as the signal aborts. Never rejects. */
export function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (slept: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      resolve(slept);
    };
    const onAbort = () => end(false);
    const timer = setTimeout(() => end(true), ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** Waits for a promise, but no longer than the signal allows; rejects with its reason then. The promise itself goes on. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Why a {@link Deadline} aborted. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/**
 * A signal that aborts with its parent or after a time that can be set anew.
 * Unlike `AbortSignal.any` it lets go of its parent when it is disposed of, so that a parent may live for months and have millions of children.
 */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal;
  readonly #onAbort = (): void => this.#controller.abort(this.#parent.reason);
  #timer: NodeJS.Timeout | undefined;

  constructor(parent: AbortSignal) {
    this.#parent = parent;
    if (parent.aborted) this.#onAbort();
    else parent.addEventListener("abort", this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why the time ran out; undefined while it did not, or where the parent aborted. */
  get expired(): DeadlineError | undefined {
    const reason: unknown = this.signal.reason;
    return reason instanceof DeadlineError && reason !== this.#parent.reason ? reason : undefined;
  }

  /** Puts the end `ms` milliseconds from now, in place of the one before. */
  set(ms: number, message: string): this {
    this.clear();
    if (!this.signal.aborted) this.#timer = setTimeout(() => this.#controller.abort(new DeadlineError(message)), ms);
    return this;
  }

  /** Takes the end away; the parent still aborts. */
  clear(): void {
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    this.clear();
    this.#parent.removeEventListener("abort", this.#onAbort);
  }
}
