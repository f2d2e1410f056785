import { randomUUID } from "node:crypto";
import type { AdapterStatus, EngineStatus, ManifestProblem, Snapshot, WatchEvent } from "@aibrix/api";

/** What the runtime shows of itself, and whoever watches it. Only a change makes an event. */
export class Feed {
  readonly #instanceId = randomUUID();
  readonly #adapters = new Map<string, AdapterStatus>();
  readonly #subscribers = new Set<(event: WatchEvent) => void>();
  #onFollowed: () => void = () => undefined;
  #engine: EngineStatus;
  #problems: readonly ManifestProblem[] = [];

  constructor(engine: EngineStatus) {
    this.#engine = engine;
  }

  snapshot(): Snapshot {
    return {
      instance_id: this.#instanceId,
      engine: this.#engine,
      adapters: [...this.#adapters.values()].sort((a, b) => (a.lora_name < b.lora_name ? -1 : 1)),
      manifest_problems: [...this.#problems],
    };
  }

  adapter(name: string): AdapterStatus | undefined {
    return this.#adapters.get(name);
  }

  setAdapter(status: AdapterStatus): void {
    if (same(this.#adapters.get(status.lora_name), status)) return;
    this.#adapters.set(status.lora_name, status);
    this.#tell({ type: "ADAPTER", object: status });
  }

  removeAdapter(name: string): void {
    if (this.#adapters.delete(name)) this.#tell({ type: "DELETED", lora_name: name });
  }

  setEngine(engine: EngineStatus): void {
    if (same(this.#engine, engine)) return;
    this.#engine = engine;
    this.#tell({ type: "ENGINE", object: engine });
  }

  setProblems(problems: readonly ManifestProblem[]): void {
    if (same(this.#problems, problems)) return;
    this.#problems = problems;
    this.#tell({ type: "MANIFESTS", object: problems });
  }

  /** Calls back for every change from now on; the result ends that. */
  subscribe(subscriber: (event: WatchEvent) => void): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  /** As {@link subscribe}, for a reader from outside. */
  follow(subscriber: (event: WatchEvent) => void): () => void {
    this.#onFollowed();
    return this.subscribe(subscriber);
  }

  /** Calls back whenever a reader from outside begins to follow. */
  set onFollowed(callback: () => void) {
    this.#onFollowed = callback;
  }

  #tell(event: WatchEvent): void {
    for (const subscriber of this.#subscribers) subscriber(event);
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
