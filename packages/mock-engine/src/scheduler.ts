/** What a request runs on: an adapter (by the engine's own number for its content), or nothing for the base model. */
export interface Lane {
  readonly id: number;
  readonly name: string;
}

interface Waiting {
  readonly lane: Lane | undefined;
  readonly start: () => void;
}

/**
 * Decides which requests run: at most `maxSeqs` at a time, of at most `maxLoras` distinct adapters.
 * As in vLLM, a request whose adapter finds no slot is passed over, and those behind it may start.
 */
export class Scheduler {
  readonly #maxSeqs: number;
  readonly #maxLoras: number;
  readonly #onLanes: (names: readonly string[]) => void;
  readonly #lanes = new Map<number, { readonly name: string; requests: number }>();
  /** Contents that run under each name, in the order in which they started. */
  readonly #leaders = new Map<string, number[]>();
  readonly #queue = new Set<Waiting>();
  #running = 0;

  /** `onLanes` is told the names of the adapters that run, in the order in which they started, whenever they change. */
  constructor(options: { readonly maxSeqs: number; readonly maxLoras: number; readonly onLanes?: (names: readonly string[]) => void }) {
    this.#maxSeqs = options.maxSeqs;
    this.#maxLoras = options.maxLoras;
    this.#onLanes = options.onLanes ?? (() => undefined);
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** How many wait only because their adapter has no slot. */
  get deferred(): number {
    return this.#running < this.#maxSeqs ? this.#queue.size : 0;
  }

  /**
   * Whether this is the content that vLLM sees running under its name: of several that run under one name,
   * it is the one that started first.
   */
  leads(id: number): boolean {
    const lane = this.#lanes.get(id);
    return lane !== undefined && this.#leaders.get(lane.name)?.[0] === id;
  }

  /**
   * Takes a place. Returns undefined when the request runs at once, else a promise for the moment when it does.
   * Rejects with the signal's reason when it aborts first. Every success needs one {@link release}.
   */
  acquire(lane: Lane | undefined, signal: AbortSignal): Promise<void> | undefined {
    if (this.#fits(lane)) {
      this.#start(lane);
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#queue.delete(entry);
        reject(signal.reason as Error);
      };
      const entry: Waiting = {
        lane,
        start: () => {
          signal.removeEventListener("abort", abort);
          resolve();
        },
      };
      if (signal.aborted) return reject(signal.reason as Error);
      signal.addEventListener("abort", abort, { once: true });
      this.#queue.add(entry);
    });
  }

  /** Gives a place back and starts whoever fits now. */
  release(lane: Lane | undefined): void {
    this.#running -= 1;
    if (lane !== undefined) {
      const held = this.#lanes.get(lane.id);
      if (held !== undefined && --held.requests === 0) {
        this.#lanes.delete(lane.id);
        const others = this.#leaders.get(lane.name)?.filter((id) => id !== lane.id) ?? [];
        if (others.length === 0) this.#leaders.delete(lane.name);
        else this.#leaders.set(lane.name, others);
        this.#tell();
      }
    }
    for (const entry of this.#queue) {
      if (this.#running >= this.#maxSeqs) return;
      if (!this.#fits(entry.lane)) continue;
      this.#queue.delete(entry);
      this.#start(entry.lane);
      entry.start();
    }
  }

  #fits(lane: Lane | undefined): boolean {
    return this.#running < this.#maxSeqs && (lane === undefined || this.#lanes.has(lane.id) || this.#lanes.size < this.#maxLoras);
  }

  #start(lane: Lane | undefined): void {
    this.#running += 1;
    if (lane === undefined) return;
    const held = this.#lanes.get(lane.id);
    if (held !== undefined) {
      held.requests += 1;
      return;
    }
    this.#lanes.set(lane.id, { name: lane.name, requests: 1 });
    this.#leaders.set(lane.name, [...(this.#leaders.get(lane.name) ?? []), lane.id]);
    this.#tell();
  }

  #tell(): void {
    this.#onLanes([...this.#lanes.values()].map((lane) => lane.name));
  }
}
