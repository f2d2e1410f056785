/** Stands for every model beyond the bound. No adapter can have it as its name. */
export const OTHER_MODELS = "_other";

/** Counts by model and result, of a bounded number of models: of those that are asked for first. */
export class ModelCounts {
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #maxModels: number;

  constructor(maxModels: number) {
    this.#maxModels = maxModels;
  }

  add(model: string, result: string): void {
    let results = this.#counts.get(model);
    if (results === undefined) {
      const name = this.#counts.size < this.#maxModels ? model : OTHER_MODELS;
      results = this.#counts.get(name) ?? new Map<string, number>();
      this.#counts.set(name, results);
    }
    results.set(result, (results.get(result) ?? 0) + 1);
  }

  *[Symbol.iterator](): Generator<{ readonly model: string; readonly result: string; readonly count: number }> {
    for (const [model, results] of this.#counts) for (const [result, count] of results) yield { model, result, count };
  }
}
