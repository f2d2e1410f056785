/** Bounds of vLLM's buckets for the time to the first token, in seconds (vllm/v1/metrics/buckets.py). */
export const FIRST_TOKEN_BOUNDS: readonly number[] = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
/** The same between two tokens. */
export const TOKEN_BOUNDS: readonly number[] = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
/** The same for whole requests. */
export const REQUEST_BOUNDS: readonly number[] = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];

/** A histogram that costs next to nothing for each value, because each token of each request is one, and that writes itself as Python's client does. */
export class Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #labels: { readonly engine: string; readonly model_name: string };
  readonly #bounds: readonly number[];
  /** How many fell into each bucket; the last one has no bound. */
  readonly #counts: number[];
  #sum = 0;

  constructor(name: string, help: string, labels: { readonly engine: string; readonly model_name: string }, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#labels = labels;
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  /** @param times - how many had this value */
  observe(seconds: number, times = 1): void {
    let at = 0;
    while (at < this.#bounds.length && seconds > (this.#bounds[at] as number)) at++;
    this.#counts[at] = (this.#counts[at] as number) + times;
    this.#sum += seconds * times;
  }

  /** Its lines of the page. */
  text(): string {
    const [engine, model] = [JSON.stringify(this.#labels.engine), JSON.stringify(this.#labels.model_name)];
    let below = 0;
    const buckets = this.#counts.map((count, at) => {
      below += count;
      const bound = this.#bounds[at];
      return `${this.#name}_bucket{engine=${engine},le="${bound === undefined ? "+Inf" : float(bound)}",model_name=${model}} ${float(below)}`;
    });
    const labels = `{engine=${engine},model_name=${model}}`;
    return [
      `# HELP ${this.#name} ${this.#help}`,
      `# TYPE ${this.#name} histogram`,
      ...buckets,
      `${this.#name}_count${labels} ${float(below)}`,
      `${this.#name}_sum${labels} ${this.#sum}`,
      "",
    ].join("\n");
  }
}

/** As Python writes it. */
function float(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
