/** Work that somebody waits for. */
interface Flight<T, P> {
  readonly result: Promise<T>;
  readonly cancel: AbortController;
  readonly watchers: Set<(progress: P) => void>;
  last: P | undefined;
}

/** Runs the same work once for all who want it at the same time. It ends when nobody wants it any more. */
export class Flights<T, P> {
  readonly #flights = new Map<string, Flight<T, P>>();
  /** Those among them that everybody has left, too. */
  readonly #running = new Set<Promise<T>>();

  /** Whether the work of a key runs. */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** Waits for all work that runs. What is to end before its time must have been left by everybody. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /**
   * Joins the work of a key, or starts it.
   *
   * @throws what the work throws, or the signal's reason as soon as that aborts; the work goes on for those who still want it
   */
  async join(
    key: string,
    work: (onProgress: (progress: P) => void, signal: AbortSignal) => Promise<T>,
    onProgress: (progress: P) => void,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    if (flight.last !== undefined) onProgress(flight.last);
    // Each call is a watcher of its own, also where two give the same function.
    const watcher = (progress: P) => onProgress(progress);
    flight.watchers.add(watcher);
    const gone = Promise.withResolvers<never>();
    const leave = () => {
      flight.watchers.delete(watcher);
      if (flight.watchers.size === 0) {
        // Whoever comes now does not get what is being ended.
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        flight.cancel.abort(signal.reason);
      }
      gone.reject(signal.reason as Error);
    };
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([flight.result, gone.promise]);
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  #start(key: string, work: (onProgress: (progress: P) => void, signal: AbortSignal) => Promise<T>): Flight<T, P> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#running.add(promise);
    const landed = () => this.#running.delete(promise);
    promise.then(landed, landed); // All may have left.
    const flight: Flight<T, P> = { result: promise, cancel: new AbortController(), watchers: new Set(), last: undefined };
    this.#flights.set(key, flight);
    const onProgress = (progress: P) => {
      flight.last = progress;
      for (const watcher of flight.watchers) watcher(progress);
    };
    const land = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    work(onProgress, flight.cancel.signal).finally(land).then(resolve, reject);
    return flight;
  }
}
