import { Part, type PartDeps, type PartSpec } from "./part.ts";

/** All parts of one stack. */
export class Supervisor {
  readonly #deps: PartDeps;
  readonly #parts: Part[] = [];
  #stopped: Promise<void> | undefined;

  constructor(deps: PartDeps) {
    this.#deps = deps;
  }

  /** Starts a part; see {@link Part.ready} for when it works. */
  start(spec: PartSpec): Part {
    const part = new Part(spec, this.#deps);
    this.#parts.push(part);
    part.start();
    return part;
  }

  /** Ends all parts in the order of their `stopOrder`, those of one number together. Never rejects; a second call joins the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopInOrder();
    return this.#stopped;
  }

  /** Kills everything at once. */
  kill(): void {
    for (const part of this.#parts) part.kill();
  }

  async #stopInOrder(): Promise<void> {
    const orders = [...new Set(this.#parts.map((p) => p.spec.stopOrder))].sort((a, b) => a - b);
    for (const order of orders) await Promise.all(this.#parts.filter((p) => p.spec.stopOrder === order).map((p) => p.stop()));
  }
}
