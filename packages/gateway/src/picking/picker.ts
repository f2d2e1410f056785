import { ENVOY_RETRIES } from "@aibrix/api";
import type { Loads } from "./loads.ts";

/** Addresses in a destination list: one for the first try and one for every retry. */
export const DESTINATIONS = ENVOY_RETRIES + 1;

/** Of these, where pods of another content stand at the end of the list: those of the content itself. */
export const OWN_DESTINATIONS = 4;

const NO_OTHERS: readonly string[] = [];

/** What the picker takes from outside. */
export interface PickerDeps {
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** At least 0, less than 1. */
  readonly random: () => number;
  readonly loads: Loads;
}

/** Chooses engines. Of two at random the one with the fewer requests comes first, the others follow in random order, for Envoy's retries. */
export class Picker {
  readonly #deps: PickerDeps;

  constructor(deps: PickerDeps) {
    this.#deps = deps;
  }

  /**
   * @param candidates - addresses of engines that serve the model; at least one
   * @param others - engines for the last of the retries, where no candidate answered
   * @returns {@link DESTINATIONS} addresses, the candidates in turn, then, where there are any, others
   */
  pick(candidates: readonly string[], others: readonly string[] = NO_OTHERS): readonly string[] {
    const { loads, random } = this.#deps;
    const nowMs = this.#deps.now();
    const order = shuffled(candidates, DESTINATIONS, random);
    const [a, b] = order;
    if (a !== undefined && b !== undefined && loads.of(b, nowMs) < loads.of(a, nowMs)) {
      order[0] = b;
      order[1] = a;
    }
    const [first] = order;
    if (first !== undefined) loads.onSent(first, nowMs);
    if (others.length === 0) return repeated(order, DESTINATIONS);
    const own = repeated(order, OWN_DESTINATIONS).slice(0, OWN_DESTINATIONS);
    const places = DESTINATIONS - OWN_DESTINATIONS;
    return [...own, ...repeated(shuffled(others, places, random), places)];
  }
}

/** At most `count` of the items, in random order. */
function shuffled(items: readonly string[], count: number, random: () => number): string[] {
  const out = items.slice();
  const places = Math.min(count, out.length);
  for (let i = 0; i < places; i++) {
    const j = i + Math.floor(random() * (out.length - i));
    const taken = out[j] as string;
    out[j] = out[i] as string;
    out[i] = taken;
  }
  if (places < out.length) out.length = places; // Slow, even where it changes nothing.
  return out;
}

/** The items in turn until there are `count`. A list that is too short would end at any engine of the cluster. */
function repeated(items: string[], count: number): readonly string[] {
  for (let i = 0; items.length > 0 && items.length < count; i++) items.push(items[i] as string);
  return items;
}
