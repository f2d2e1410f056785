import { Counter, Histogram, type Registry } from "@aibrix/service";
import { OTHER_MODELS } from "./pair-counts.ts";
import type { AnswerStatus, Trial } from "./phases/types.ts";

/** Buckets for the time until an answer's head, in seconds: that of a stream comes before its first token, any other with its last. */
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** What was counted of a trial stays this long after its last answer, in milliseconds, so that it is still read once it is over. */
const KEPT_MS = 600_000;

/** Of a request that ended before the head of its answer: its client left. */
const NO_ANSWER = "error";

export interface TrialAnswersDeps {
  /** Models that count by name at once. */
  readonly maxModels: number;
  readonly isOnTrial: (model: string, namespace: string) => boolean;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

interface Counted {
  readonly model: string;
  readonly namespace: string;
  /** `version` and the codes of it. */
  readonly codes: Map<Trial["version"], Set<string>>;
  usedMs: number;
}

/** Counts how requests are answered whose model has a content on trial, by version. What it holds of a trial goes some time after the trial. */
export class TrialAnswers {
  readonly #deps: TrialAnswersDeps;
  readonly #answers: Counter<"model" | "namespace" | "version" | "code">;
  readonly #seconds: Histogram<"model" | "namespace" | "version">;
  readonly #left: Histogram<"model" | "namespace" | "version">;
  readonly #counted = new Map<string, Counted>();
  /**
   * Whether the head of an answer was ever seen. An Envoy that may not be told to send them ends its calls as one does whose client has gone:
   * before the first one nothing is known.
   */
  #sees = false;

  constructor(registry: Registry, deps: TrialAnswersDeps) {
    this.#deps = deps;
    const registers = [registry];
    const forget = (): void => this.#forget();
    this.#answers = new Counter({
      name: "aibrix_gateway_version_responses_total",
      help: `Answers to requests for models of which a content is on trial, by the content (stable, canary) that was to answer and by the status that Envoy passed on; ${NO_ANSWER} where the request ended before, other where an engine of the other content answered.`,
      labelNames: ["model", "namespace", "version", "code"],
      registers,
      collect: forget,
    });
    this.#seconds = new Histogram({
      name: "aibrix_gateway_version_response_seconds",
      help: "From the decision to the head of the answer, retries included, for models of which a content is on trial.",
      labelNames: ["model", "namespace", "version"],
      buckets: SECONDS,
      registers,
    });
    this.#left = new Histogram({
      name: "aibrix_gateway_version_left_seconds",
      help: "From the decision to the end of a request whose client left before the head of its answer, for models of which a content is on trial.",
      labelNames: ["model", "namespace", "version"],
      buckets: SECONDS,
      registers,
    });
  }

  /**
   * @param status - `other` counts by itself, and so does not count for the content. `undefined` where the request ended before its answer's head. How long it had waited counts too, by itself: a content that
   * hangs shows in nothing else, and a client that leaves soon makes none fast.
   * @param afterMs - since the decision
   */
  add(trial: Trial, status: AnswerStatus, afterMs: number): void {
    if (status !== undefined) this.#sees = true;
    if (!this.#sees) return;
    const counted = this.#find(trial);
    const { model, namespace } = counted;
    const { version } = trial;
    const code = status === undefined ? NO_ANSWER : String(status);
    counted.usedMs = this.#deps.now();
    counted.codes.set(version, (counted.codes.get(version) ?? new Set()).add(code));
    this.#answers.inc({ model, namespace, version, code });
    if (status === "other") return;
    (status === undefined ? this.#left : this.#seconds).observe({ model, namespace, version }, afterMs / 1_000);
  }

  #find({ model, namespace }: Trial): Counted {
    const known = this.#counted.get(keyOf(model, namespace));
    if (known !== undefined) return known;
    if (this.#counted.size >= this.#deps.maxModels) this.#forget();
    const own = this.#counted.size < this.#deps.maxModels ? { model, namespace } : { model: OTHER_MODELS, namespace: "" };
    const key = keyOf(own.model, own.namespace);
    const counted = this.#counted.get(key) ?? { ...own, codes: new Map(), usedMs: this.#deps.now() };
    this.#counted.set(key, counted);
    return counted;
  }

  #forget(): void {
    for (const [key, { model, namespace, codes, usedMs }] of this.#counted) {
      if (this.#deps.now() - usedMs < KEPT_MS || this.#deps.isOnTrial(model, namespace)) continue;
      this.#counted.delete(key);
      for (const [version, all] of codes) {
        for (const code of all) this.#answers.remove({ model, namespace, version, code });
        for (const waits of [this.#seconds, this.#left]) waits.remove({ model, namespace, version });
      }
    }
  }
}

/** One text for both names. */
export function keyOf(model: string, namespace: string): string {
  return `${namespace}/${model}`;
}
