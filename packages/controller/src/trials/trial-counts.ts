import type { Counted, Health } from "../model-adapter/canary.ts";
import { type Sample, samplesIn } from "./exposition.ts";

/*
 * What gateways counted of the contents on trial since a step began: differences of counters, which may begin anew with a gateway's process.
 */

const BEGINNING = "aibrix_gateway_version_";
const RESPONSES = "aibrix_gateway_version_responses_total";
const BUCKETS = "aibrix_gateway_version_response_seconds_bucket";
/** Of clients that left before; a gateway of before counts these with the others. */
const LEFT = "aibrix_gateway_version_left_seconds_bucket";
const NAMES: readonly string[] = [RESPONSES, BUCKETS, LEFT];
/** Of requests that were sent to the content on trial. */
const VERSION = "canary";

/** How many minutes are looked at by themselves once a step has lasted longer. */
const RECENT_MINUTES = 5;

/** Whose responses. */
export interface Trial {
  readonly namespace: string;
  readonly model: string;
  /** Names the step of the canary that goes on. */
  readonly step: string;
}

/** A gateway's page, as far as it bears on trials. */
export function trialSamples(page: string): Sample[] {
  return samplesIn(page, BEGINNING).filter(({ name, labels }) => NAMES.includes(name) && labels.version === VERSION);
}

/** Adds up what gateways count in one step. */
export class TrialCounts {
  readonly #trial: Trial;
  /** What each gateway showed last, by its address and the series. */
  readonly #last = new Map<string, Map<string, number>>();
  readonly #codes = new Map<string, number>();
  /** By upper bound, in seconds: responses that took no longer. */
  readonly #within = new Map<number, number>();
  /** By upper bound, in seconds: clients that left after no longer a wait. */
  readonly #left = new Map<number, number>();
  /** What was counted by then, the latest last: none is older than the recent minutes but the first one. */
  #marks: { readonly atMs: number; readonly counted: Counted }[] = [];

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
      else increase(name === LEFT ? this.#left : this.#within, labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le), more);
    }
    this.#last.set(gateway, now);
  }

  /**
   * Remembers what was counted so far.
   *
   * @param nowMs - milliseconds, monotonic
   */
  mark(nowMs: number): void {
    const since = nowMs - RECENT_MINUTES * 60_000;
    // The last one that is old enough is where the recent minutes begin.
    const first = this.#marks.findLastIndex(({ atMs }) => atMs <= since);
    this.#marks = [...this.#marks.slice(Math.max(0, first)), { atMs: nowMs, counted: this.#counted() }];
  }

  get health(): Health {
    const now = this.#counted();
    const [first] = this.#marks;
    const last = this.#marks.at(-1);
    const isLong = first !== undefined && last !== undefined && last.atMs - first.atMs >= RECENT_MINUTES * 60_000;
    return { ...now, recent: isLong ? { counted: difference(now, first.counted), minutes: RECENT_MINUTES } : undefined };
  }

  #counted(): Counted {
    let responses = 0;
    let errors = 0;
    for (const [code, count] of this.#codes) {
      // A client that left before its answer is no response.
      if (!/^\d{3}$/.test(code)) continue;
      responses += count;
      if (code >= "500") errors += count;
    }
    return {
      responses,
      errors,
      timed: this.#within.get(Number.POSITIVE_INFINITY) ?? 0,
      within: new Map(this.#within),
      left: new Map(this.#left),
    };
  }
}

function difference(now: Counted, before: Counted): Counted {
  return {
    responses: now.responses - before.responses,
    errors: now.errors - before.errors,
    timed: now.timed - before.timed,
    within: increases(now.within, before.within),
    left: increases(now.left, before.left),
  };
}

function increases(now: Counted["within"] = new Map(), before: Counted["within"] = new Map()): ReadonlyMap<number, number> {
  return new Map([...now].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]));
}

function increase<K>(counts: Map<K, number>, key: K, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
