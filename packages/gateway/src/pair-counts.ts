/** Stands for every model beyond the bound. No adapter can have it as its name. */
export const OTHER_MODELS = "_other";

/** Counts by two labels, such as a model and what came of its request. */
export class PairCounts {
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #max: number;
  readonly #other: string;

  /**
   * @param max - values of the first label that count by themselves: those that come first
   * @param other - as which the others count together
   */
  constructor(max = Number.POSITIVE_INFINITY, other = "") {
    this.#max = max;
    this.#other = other;
  }

  add(first: string, second: string): void {
    let counts = this.#counts.get(first);
    if (counts === undefined) {
      const name = this.#counts.size < this.#max ? first : this.#other;
      counts = this.#counts.get(name) ?? new Map<string, number>();
      this.#counts.set(name, counts);
    }
    counts.set(second, (counts.get(second) ?? 0) + 1);
  }

  *[Symbol.iterator](): Generator<readonly [first: string, second: string, count: number]> {
    for (const [first, counts] of this.#counts) for (const [second, count] of counts) yield [first, second, count];
  }
}
