import { nameHolder } from "@aibrix/api";
import type { DeclarationSink, EngineChange, EngineModel, Found, ModelCard, RoutingSink, RoutingView } from "./types.ts";

interface Engine {
  address: string | undefined;
  notReady: string | undefined;
  models: Map<string, EngineModel>;
}

/** Who knows a model's name. */
interface Name {
  readonly engines: Set<Engine>;
  readonly declared: Map<string, EngineModel>;
  /** What was found for the name last, by the namespace that was asked for; emptied when anything that it rests on changes. */
  readonly found: Map<string | undefined, Found>;
}

/** Who serves what, from every source. Every change is seen by the next look-up. */
export class RoutingTable implements RoutingSink, DeclarationSink, RoutingView {
  readonly #engines = new Map<string, Engine>();
  /** Names of what was declared, by the declaration's key. */
  readonly #declared = new Map<string, string>();
  readonly #names = new Map<string, Name>();
  /** Engines that have a content on trial, by the model's name. */
  readonly #trials = new Map<string, Set<Engine>>();
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
        for (const model of next.values()) this.#link(engine, model);
        engine.models = next;
        break;
      }
      case "model":
        engine.models.set(change.model.id, change.model);
        this.#link(engine, change.model);
        break;
      case "withdrawn":
        engine.models.delete(change.id);
        this.#unlink(engine, change.id);
        break;
      case "notReady":
        engine.notReady = change.why;
        this.#forgetFound(engine);
        break;
      case "engine":
        engine.address = change.address;
        engine.notReady = change.notReady;
        this.#forgetFound(engine);
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

  declare(key: string, model: EngineModel): void {
    if (this.#declared.get(key) !== model.id) this.#undeclare(key);
    this.#declared.set(key, model.id);
    const name = this.#name(model.id);
    name.declared.set(key, model);
    name.found.clear();
    this.#announce();
  }

  retract(key: string): void {
    this.#undeclare(key);
    this.#announce();
  }

  find(model: string, namespace?: string): Found {
    const name = this.#names.get(model);
    if (name === undefined) return UNKNOWN;
    let found = name.found.get(namespace);
    if (found === undefined) {
      found = this.#lookUp(model, namespace);
      // Namespaces are what clients write: their number is not bounded.
      if (name.found.size >= MAX_FOUND) name.found.clear();
      name.found.set(namespace, found);
    }
    return found;
  }

  #lookUp(model: string, namespace: string | undefined): Found {
    const holder = this.#holder(model, namespace);
    if (holder === undefined) return UNKNOWN;
    const addresses: string[] = [];
    const canaries: string[] = [];
    let weight = 0;
    let why: string | undefined;
    let swapping = false;
    for (const { entry, engine } of this.#entries(model, namespace)) {
      if (!isSame(entry, holder)) continue;
      const problem = entry.notServing ?? notUsable(engine, entry);
      const address = entry.address ?? engine?.address;
      if (problem === undefined && address !== undefined) {
        if (entry.canaryWeight === undefined) addresses.push(address);
        else canaries.push(address);
        weight = Math.max(weight, entry.canaryWeight ?? 0);
      }
      why ??= problem;
      swapping ||= entry.swapping === true;
    }
    if (addresses.length + canaries.length === 0) return { kind: "notReady", why: why ?? NO_ENGINE, ...(swapping ? { swapping } : {}) };
    if (canaries.length === 0) return { kind: "routable", addresses };
    // A content on trial is better than none, and is on trial then too.
    return { kind: "routable", addresses, canary: { addresses: canaries, weight, namespace: holder.namespace ?? "" } };
  }

  hasTrials(): boolean {
    return this.#trials.size > 0;
  }

  /** Whether a content of the model is on trial on an engine, of any namespace where none is given. */
  isOnTrial(model: string, namespace?: string): boolean {
    for (const engine of this.#trials.get(model) ?? []) {
      const entry = engine.models.get(model);
      if (entry !== undefined && isOf(entry, namespace)) return true;
    }
    return false;
  }

  card(model: string, namespace?: string): ModelCard | undefined {
    const holder = this.#holder(model, namespace);
    if (holder === undefined) return undefined;
    let oldest: EngineModel | undefined;
    for (const { entry, engine } of this.#entries(model, namespace)) {
      if (!isSame(entry, holder) || entry.notServing !== undefined || notUsable(engine, entry) !== undefined) continue;
      if (oldest === undefined || isShownBefore(entry, oldest)) oldest = entry;
    }
    return oldest;
  }

  /** Base models first, then adapters, each by name. */
  cards(namespace?: string): readonly ModelCard[] {
    return [...this.#names.keys()]
      .sort()
      .map((id) => this.card(id, namespace))
      .filter((card) => card !== undefined)
      .sort((a, b) => Number(a.parent !== undefined) - Number(b.parent !== undefined));
  }

  /** Addresses of the engines that take requests. */
  addresses(): readonly string[] {
    return [...this.#engines.values()].flatMap((e) => (e.notReady === undefined && e.address !== undefined ? [e.address] : []));
  }

  /** Engines, and how many of them take requests. */
  counts(): { readonly engines: number; readonly ready: number; readonly models: number } {
    const engines = [...this.#engines.values()];
    return { engines: engines.length, ready: engines.filter((e) => notUsable(e) === undefined).length, models: this.#names.size };
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

  /** Declarations come first: they know best why a model cannot be used. */
  *#entries(model: string, namespace: string | undefined): Generator<{ readonly entry: EngineModel; readonly engine?: Engine }> {
    const name = this.#names.get(model);
    for (const entry of name?.declared.values() ?? []) if (isOf(entry, namespace)) yield { entry };
    for (const engine of name?.engines ?? []) {
      const entry = engine.models.get(model);
      if (entry !== undefined && isOf(entry, namespace)) yield { entry, engine };
    }
  }

  /** One entry of the model that a name means. */
  #holder(model: string, namespace: string | undefined): EngineModel | undefined {
    const entries = this.#entries.bind(this, model, namespace);
    return nameHolder(function* () {
      for (const { entry } of entries()) yield entry;
    });
  }

  #name(id: string): Name {
    const name = this.#names.get(id) ?? { engines: new Set(), declared: new Map(), found: new Map() };
    this.#names.set(id, name);
    return name;
  }

  /** Engine has, or no longer has, a content of this model that is on trial. */
  #setTrial(engine: Engine, id: string, onTrial: boolean): void {
    const engines = this.#trials.get(id);
    if (onTrial) {
      if (engines === undefined) this.#trials.set(id, new Set([engine]));
      else engines.add(engine);
    } else if (engines?.delete(engine) === true && engines.size === 0) {
      this.#trials.delete(id);
    }
  }

  #link(engine: Engine, { id, canaryWeight }: EngineModel): void {
    this.#setTrial(engine, id, canaryWeight !== undefined);
    const name = this.#name(id);
    name.engines.add(engine);
    name.found.clear();
  }

  #unlink(engine: Engine, id: string): void {
    this.#setTrial(engine, id, false);
    const name = this.#names.get(id);
    name?.engines.delete(engine);
    name?.found.clear();
    this.#forget(id);
  }

  #undeclare(key: string): void {
    const id = this.#declared.get(key);
    if (id === undefined) return;
    this.#declared.delete(key);
    const name = this.#names.get(id);
    name?.declared.delete(key);
    name?.found.clear();
    this.#forget(id);
  }

  #forgetFound(engine: Engine): void {
    for (const id of engine.models.keys()) this.#names.get(id)?.found.clear();
  }

  #forget(id: string): void {
    const name = this.#names.get(id);
    if (name?.engines.size === 0 && name.declared.size === 0) this.#names.delete(id);
  }
}

const UNKNOWN: Found = { kind: "unknown" };
/** Answers that are remembered of one name. */
const MAX_FOUND = 16;
const NO_ENGINE = "no engine has it";

function notUsable(engine: Engine | undefined, entry?: EngineModel): string | undefined {
  if (engine === undefined) return NO_ENGINE;
  const address = entry?.address ?? engine.address;
  return engine.notReady ?? (address === undefined ? "its engine's address is not known yet" : undefined);
}

function isOf(entry: EngineModel, namespace: string | undefined): boolean {
  return namespace === undefined || entry.namespace === undefined || entry.namespace === namespace;
}

/** The oldest is shown; of one age the same one every time. */
function isShownBefore(a: EngineModel, b: EngineModel): boolean {
  return a.createdSec === b.createdSec ? (a.parent ?? "") < (b.parent ?? "") : a.createdSec < b.createdSec;
}

/** Whether two entries of a name are the same model. */
function isSame(a: EngineModel, b: EngineModel): boolean {
  return a.namespace === b.namespace && (a.namespace === undefined || a.kind === b.kind);
}
