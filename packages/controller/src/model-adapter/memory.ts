import type { EndpointSlice, Service } from "@aibrix/kube";
import { OwnWrites } from "../cache/own-writes.ts";
import type { ModelAdapterObject } from "./types.ts";

/** What the process remembers of one adapter beyond the caches. Losing it costs calls, never truth. */
export class AdapterMemory {
  readonly adapter: OwnWrites<ModelAdapterObject> = new OwnWrites();
  readonly service: OwnWrites<Service> = new OwnWrites();
  readonly slices: OwnWrites<EndpointSlice> = new OwnWrites();
  /** Why its Service or slices could not be written, the last time that this was tried. */
  unwritten: string | undefined;
  /** What an earlier process wrote down about calls to pods was read. */
  recalled = false;
  /** Namespaces of the base models that are known not to be reached by the name that they share with it. */
  basesBehind: ReadonlySet<string> = new Set();
  /** A Service of its name that is not ours, as last seen. */
  foreign: { readonly owner: string; readonly untilMs: number } | undefined;
}

/** The memories of all adapters, by key. */
export class Memories {
  readonly #of = new Map<string, AdapterMemory>();

  of(key: string): AdapterMemory {
    let memory = this.#of.get(key);
    if (memory === undefined) {
      memory = new AdapterMemory();
      this.#of.set(key, memory);
    }
    return memory;
  }

  /** Only where there is one already. */
  find(key: string): AdapterMemory | undefined {
    return this.#of.get(key);
  }

  delete(key: string): void {
    this.#of.delete(key);
  }
}
