import type { Health } from "../model-adapter/canary.ts";
import { type Sample, samplesIn } from "./exposition.ts";

/*
 * What gateways counted of the contents on trial since a step began: differences of counters, which may begin anew with a gateway's process.
 */

const BEGINNING = "aibrix_gateway_version_response";
const RESPONSES = "aibrix_gateway_version_responses_total";
const BUCKETS = "aibrix_gateway_version_response_seconds_bucket";
/** Of requests that were sent to the content on trial. */
const VERSION = "canary";

/** Whose responses. */
export interface Trial {
  readonly namespace: string;
  readonly model: string;
  /** Names the step of the canary that goes on. */
  readonly step: string;
}

/** A gateway's page, as far as it bears on trials. */
export function trialSamples(page: string): Sample[] {
  return samplesIn(page, BEGINNING).filter(({ name, labels }) => (name === RESPONSES || name === BUCKETS) && labels.version === VERSION);
}

/** Adds up what gateways count in one step. */
export class TrialCounts {
  readonly #trial: Trial;
  /** What each gateway showed last, by its address and the series. */
  readonly #last = new Map<string, Map<string, number>>();
  readonly #codes = new Map<string, number>();
  /** By upper bound, in seconds: responses that took no longer. */
  readonly #within = new Map<number, number>();

  constructor(trial: Trial) {
    this.#trial = trial;
  }

  /** Takes in what a gateway shows. What it shows at first was before the step, or nobody knows when. */
  add(gateway: string, samples: readonly Sample[]): void {
    const { namespace, model } = this.#trial;
    const before = this.#last.get(gateway);
    const now = new Map<string, number>();
    for (const { name, labels, value } of samples) {
      if (labels.model !== model || labels.namespace !== namespace) continue;
      const series = `${name} ${labels.code ?? labels.le}`;
      now.set(series, value);
      if (before === undefined) continue;
      const last = before.get(series) ?? 0;
      const more = value >= last ? value - last : value;
      if (name === RESPONSES) increase(this.#codes, labels.code ?? "", more);
      else increase(this.#within, labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le), more);
    }
    this.#last.set(gateway, now);
  }

  get health(): Health {
    let responses = 0;
    let errors = 0;
    for (const [code, count] of this.#codes) {
      // A client that left before its answer says nothing of the content.
      if (!/^\d{3}$/.test(code)) continue;
      responses += count;
      if (code >= "500") errors += count;
    }
    const p95 = quantile(0.95, this.#within);
    return { responses, errors, latencyP95Ms: p95 === undefined ? undefined : p95 * 1_000 };
  }
}

function increase<K>(counts: Map<K, number>, key: K, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

/**
 * A quantile of a histogram, as Prometheus' histogram_quantile has it: even within a bucket, and the greatest bound beyond the last one. Pure.
 *
 * @param within - by upper bound: how many are no greater
 */
export function quantile(q: number, within: ReadonlyMap<number, number>): number | undefined {
  const buckets = [...within].sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total === 0) return undefined;
  const rank = q * total;
  let lower = 0;
  let below = 0;
  for (const [upper, count] of buckets) {
    if (count >= rank) return upper === Number.POSITIVE_INFINITY ? lower : lower + ((upper - lower) * (rank - below)) / (count - below);
    lower = upper;
    below = count;
  }
  return lower;
}
