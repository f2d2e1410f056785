import { ENVOY_RETRIES } from "@aibrix/api";

/** Addresses in a destination list: one for the first try and one for every retry. */
export const DESTINATIONS = ENVOY_RETRIES + 1;

/** Half of what was sent to an engine is forgotten after this time, in milliseconds. */
const HALF_LIFE_MS = 2_000;

/** Above this, addresses of engines that are long gone are forgotten. */
const MAX_REMEMBERED = 1_024;

/** What the picker takes from outside. */
export interface PickerDeps {
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** At least 0, less than 1. */
  readonly random: () => number;
}

/**
 * Chooses engines. Of two at random the one to which less was sent lately comes first, the others follow in random order: they are for
 * Envoy's retries. A request's end is not seen (Envoy closes the stream before), so what counts is what was sent, and it fades.
 */
export class Picker {
  readonly #deps: PickerDeps;
  readonly #sent = new Map<string, { load: number; atMs: number }>();

  constructor(deps: PickerDeps) {
    this.#deps = deps;
  }

  /**
   * @param candidates - addresses of engines that serve the model; at least one
   * @returns {@link DESTINATIONS} addresses, the candidates in turn
   */
  pick(candidates: readonly string[]): readonly string[] {
    const nowMs = this.#deps.now();
    const order = shuffled(candidates, DESTINATIONS, this.#deps.random);
    const [a, b] = order;
    if (a !== undefined && b !== undefined && this.#load(b, nowMs) < this.#load(a, nowMs)) {
      order[0] = b;
      order[1] = a;
    }
    const first = order[0];
    if (first !== undefined) this.#sent.set(first, { load: this.#load(first, nowMs) + 1, atMs: nowMs });
    if (this.#sent.size > MAX_REMEMBERED) this.#forget(nowMs);
    return repeated(order, DESTINATIONS);
  }

  #forget(nowMs: number): void {
    for (const [address, { atMs }] of this.#sent) if (nowMs - atMs > 10 * HALF_LIFE_MS) this.#sent.delete(address);
  }

  #load(address: string, nowMs: number): number {
    const sent = this.#sent.get(address);
    return sent === undefined ? 0 : sent.load * 0.5 ** ((nowMs - sent.atMs) / HALF_LIFE_MS);
  }
}

/** At most `count` of the items, in random order. */
function shuffled(items: readonly string[], count: number, random: () => number): string[] {
  if (items.length < 2) return [...items];
  const rest = [...items];
  const out: string[] = [];
  while (out.length < count && rest.length > 0) {
    const [taken] = rest.splice(Math.floor(random() * rest.length), 1);
    if (taken !== undefined) out.push(taken);
  }
  return out;
}

/** The items in turn until there are `count`. A list that is too short would end at any engine of the cluster. */
function repeated(items: readonly string[], count: number): readonly string[] {
  const out: string[] = [];
  while (out.length < count) out.push(...items.slice(0, count - out.length));
  return out;
}
