import { Counter, Gauge, Registry } from "prom-client";
import { FIRST_TOKEN_BOUNDS, Histogram, REQUEST_BOUNDS, TOKEN_BOUNDS } from "./histogram.ts";
import type { Scheduler } from "./scheduler.ts";

/** Content type of vLLM's page; prom-client's own differs in the version. */
export const METRICS_CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8";
/** Series of `vllm:lora_requests_info` that are kept. vLLM keeps all; a test with thousands of adapters must not grow without bound. */
const MAX_INFO_SERIES = 1_000;

export type FinishReason = "stop" | "length" | "abort" | "error";

/** What is read at the moment of a scrape. */
export interface Observed {
  readonly scheduler: Scheduler;
  /** Share of the KV cache in use, 0 to 1. */
  readonly kvCacheUsage: () => number;
}

/** Takes the times of one request. */
export interface Stopwatch {
  /** A token was made. */
  token(): void;
  /** All were made. One that broke off has no time, as in vLLM. */
  end(): void;
}

/** Numbers of one engine, named and labelled as vLLM's. Nothing is computed before somebody asks. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #labels: { readonly engine: string; readonly model_name: string };
  readonly #maxLora: string;
  readonly #info = new Map<string, number>();
  readonly #firstToken: Histogram;
  readonly #nextToken: Histogram;
  readonly #request: Histogram;
  readonly #finished: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0 };
  #lastStamp = 0;
  #promptTokens = 0;
  #generatedTokens = 0;
  #observed: Observed | undefined;

  constructor(options: { readonly modelName: string; readonly maxLoras: number | undefined; readonly startSeconds: number }) {
    this.#labels = { engine: "0", model_name: options.modelName };
    const histogram = (name: string, what: string, bounds: readonly number[]) =>
      new Histogram(`vllm:${name}`, `Histogram of ${what} in seconds.`, this.#labels, bounds);
    this.#firstToken = histogram("time_to_first_token_seconds", "time to first token", FIRST_TOKEN_BOUNDS);
    this.#nextToken = histogram("inter_token_latency_seconds", "inter-token latency", TOKEN_BOUNDS);
    this.#request = histogram("e2e_request_latency_seconds", "e2e request latency", REQUEST_BOUNDS);
    this.#maxLora = String(options.maxLoras ?? 0);
    this.#gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", [], (gauge) =>
      gauge.set(options.startSeconds),
    );
    this.#gauges();
    this.#counters();
    if (options.maxLoras !== undefined) this.#infoGauge();
  }

  observe(observed: Observed): void {
    this.#observed = observed;
  }

  /**
   * Notes which adapters run now. Each combination is a series of its own whose value is the time at which it was last
   * seen; old series stay, and the label for waiting ones repeats the running ones, both as measured on vLLM.
   */
  adaptersRunning(names: readonly string[]): void {
    const label = names.join(",");
    this.#info.delete(label);
    if (this.#info.size >= MAX_INFO_SERIES) for (const oldest of this.#info.keys()) if (this.#info.delete(oldest)) break;
    this.#info.set(label, this.#stamp());
  }

  /** The time in seconds, never the same twice: the series with the highest value is the current one. */
  #stamp(): number {
    this.#lastStamp = Math.max(Date.now() / 1000, this.#lastStamp + 1e-6);
    return this.#lastStamp;
  }

  finished(reason: FinishReason, promptTokens: number, generatedTokens: number): void {
    this.#finished[reason] += 1;
    this.#promptTokens += promptTokens;
    this.#generatedTokens += generatedTokens;
  }

  /** Begins to take the times of a request that asked for so many answers: vLLM counts each of them as a request. */
  stopwatch(choices: number): Stopwatch {
    const startMs = performance.now();
    let lastMs: number | undefined;
    return {
      token: () => {
        const nowMs = performance.now();
        if (lastMs === undefined) this.#firstToken.observe((nowMs - startMs) / 1000, choices);
        else this.#nextToken.observe((nowMs - lastMs) / 1000, choices);
        lastMs = nowMs;
      },
      end: () => this.#request.observe((performance.now() - startMs) / 1000, choices),
    };
  }

  /** The page, as Prometheus reads it. */
  async page(): Promise<string> {
    const rest = [this.#firstToken, this.#nextToken, this.#request].map((h) => h.text());
    return `${await this.#registry.metrics()}${rest.join("")}`;
  }

  /** Only the series of these names, as prometheus_client gives them where a query asks for `name[]`. */
  async seriesOf(names: ReadonlySet<string>): Promise<string> {
    const wanted = (line: string): boolean => {
      const [name = ""] = line.replace(/^# (?:HELP|TYPE) /, "").split(/[ {]/, 1);
      return names.has(name);
    };
    return (await this.page()).replaceAll(/.*\n+/g, (line) => (wanted(line) ? line.trimEnd().concat("\n") : ""));
  }

  #gauge(name: string, help: string, labelNames: readonly string[], collect: (gauge: Gauge) => void): void {
    const gauge: Gauge = new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry], collect: () => collect(gauge) });
  }

  #counter(name: string, help: string, labelNames: readonly string[], collect: (counter: Counter) => void): void {
    const refill = (): void => {
      counter.reset();
      collect(counter);
    };
    const counter: Counter = new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry], collect: refill });
  }

  #gauges(): void {
    const labels = Object.keys(this.#labels);
    const read = (pick: (observed: Observed) => number) => (gauge: Gauge) =>
      gauge.set(this.#labels, this.#observed === undefined ? 0 : pick(this.#observed));
    this.#gauge(
      "vllm:num_requests_running",
      "Number of requests in model execution batches.",
      labels,
      read((o) => o.scheduler.running),
    );
    this.#gauge(
      "vllm:num_requests_waiting",
      "Number of requests waiting to be processed.",
      labels,
      read((o) => o.scheduler.waiting),
    );
    this.#gauge("vllm:num_requests_waiting_by_reason", "Number of waiting requests by reason.", [...labels, "reason"], (gauge) => {
      const { waiting = 0, deferred = 0 } = this.#observed?.scheduler ?? {};
      gauge.set({ ...this.#labels, reason: "capacity" }, waiting - deferred);
      gauge.set({ ...this.#labels, reason: "deferred" }, deferred);
    });
    this.#gauge(
      "vllm:kv_cache_usage_perc",
      "KV-cache usage. 1 means 100 percent usage.",
      labels,
      read((o) => o.kvCacheUsage()),
    );
  }

  #counters(): void {
    const labels = Object.keys(this.#labels);
    this.#counter("vllm:prompt_tokens_total", "Number of prefill tokens processed.", labels, (counter) =>
      counter.inc(this.#labels, this.#promptTokens),
    );
    this.#counter("vllm:generation_tokens_total", "Number of generation tokens processed.", labels, (counter) =>
      counter.inc(this.#labels, this.#generatedTokens),
    );
    this.#counter("vllm:request_success_total", "Count of successfully processed requests.", [...labels, "finished_reason"], (counter) => {
      for (const [reason, count] of Object.entries(this.#finished)) counter.inc({ ...this.#labels, finished_reason: reason }, count);
    });
  }

  #infoGauge(): void {
    const labels = ["max_lora", "running_lora_adapters", "waiting_lora_adapters"];
    this.#gauge("vllm:lora_requests_info", "Running stats on lora requests.", labels, (gauge) => {
      // vLLM sets the current combination at every step, so while requests run it is always the newest.
      const current = [...this.#info.keys()].at(-1);
      if (current !== undefined && (this.#observed?.scheduler.running ?? 0) > 0) this.#info.set(current, this.#stamp());
      gauge.reset();
      for (const [names, seconds] of this.#info)
        gauge.set({ max_lora: this.#maxLora, running_lora_adapters: names, waiting_lora_adapters: names }, seconds);
    });
  }
}
