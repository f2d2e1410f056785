import type { EngineChange, EngineModel, Found, ModelCard, RoutingSink, RoutingView } from "./types.ts";

interface Engine {
  address: string | undefined;
  notReady: string | undefined;
  models: Map<string, EngineModel>;
}

/** Who serves what, from every source. Every change is seen by the next look-up. */
export class RoutingTable implements RoutingSink, RoutingView {
  readonly #engines = new Map<string, Engine>();
  /** Engines that know a model, by the model's name. */
  readonly #byModel = new Map<string, Set<Engine>>();
  readonly #waiting = new Set<() => void>();

  update(key: string, change: EngineChange): void {
    const engine = this.#engines.get(key) ?? { address: undefined, notReady: "it has not been seen yet", models: new Map() };
    this.#engines.set(key, engine);
    switch (change.type) {
      case "state": {
        engine.address = change.state.address;
        engine.notReady = change.state.notReady;
        const next = new Map(change.state.models.map((model) => [model.id, model]));
        for (const id of engine.models.keys()) if (!next.has(id)) this.#unlink(engine, id);
        for (const id of next.keys()) this.#link(engine, id);
        engine.models = next;
        break;
      }
      case "model":
        engine.models.set(change.model.id, change.model);
        this.#link(engine, change.model.id);
        break;
      case "withdrawn":
        engine.models.delete(change.id);
        this.#unlink(engine, change.id);
        break;
      case "notReady":
        engine.notReady = change.why;
        break;
    }
    this.#announce();
  }

  remove(key: string): void {
    const engine = this.#engines.get(key);
    if (engine === undefined) return;
    for (const id of engine.models.keys()) this.#unlink(engine, id);
    this.#engines.delete(key);
    this.#announce();
  }

  find(model: string): Found {
    const engines = this.#byModel.get(model);
    if (engines === undefined) return { kind: "unknown" };
    const addresses: string[] = [];
    let why: string | undefined;
    for (const engine of engines) {
      const problem = engine.models.get(model)?.notServing ?? notUsable(engine);
      if (problem === undefined && engine.address !== undefined) addresses.push(engine.address);
      why ??= problem;
    }
    return addresses.length > 0 ? { kind: "routable", addresses } : { kind: "notReady", why: why ?? "no engine has it" };
  }

  card(model: string): ModelCard | undefined {
    let oldest: EngineModel | undefined;
    for (const engine of this.#byModel.get(model) ?? []) {
      const entry = engine.models.get(model);
      if (entry === undefined || entry.notServing !== undefined || notUsable(engine) !== undefined) continue;
      if (oldest === undefined || entry.createdSec < oldest.createdSec) oldest = entry;
    }
    return oldest;
  }

  /** Base models first, then adapters, each by name. */
  cards(): readonly ModelCard[] {
    return [...this.#byModel.keys()]
      .sort()
      .map((id) => this.card(id))
      .filter((card) => card !== undefined)
      .sort((a, b) => Number(a.parent !== undefined) - Number(b.parent !== undefined));
  }

  /** Engines, and how many of them take requests. */
  counts(): { readonly engines: number; readonly ready: number; readonly models: number } {
    const engines = [...this.#engines.values()];
    return { engines: engines.length, ready: engines.filter((e) => notUsable(e) === undefined).length, models: this.#byModel.size };
  }

  /**
   * Calls back at every change until the returned function is called.
   *
   * @returns stops the calls
   */
  onChange(callback: () => void): () => void {
    this.#waiting.add(callback);
    return () => this.#waiting.delete(callback);
  }

  #announce(): void {
    for (const callback of [...this.#waiting]) callback();
  }

  #link(engine: Engine, id: string): void {
    const engines = this.#byModel.get(id);
    if (engines === undefined) this.#byModel.set(id, new Set([engine]));
    else engines.add(engine);
  }

  #unlink(engine: Engine, id: string): void {
    const engines = this.#byModel.get(id);
    engines?.delete(engine);
    if (engines?.size === 0) this.#byModel.delete(id);
  }
}

function notUsable(engine: Engine): string | undefined {
  return engine.notReady ?? (engine.address === undefined ? "its engine's address is not known yet" : undefined);
}
