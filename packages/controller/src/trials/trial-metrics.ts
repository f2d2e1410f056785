import { ENDPOINT_SLICES, type KubeClient, type Log } from "@aibrix/kube";
import { deadline, sleep } from "@aibrix/service";
import { type Dispatcher, request } from "undici";
import type { Connect } from "../engines/agent.ts";
import { podDispatcher } from "../engines/http.ts";
import type { Health } from "../model-adapter/canary.ts";
import type { Sample } from "./exposition.ts";
import { type Trial, TrialCounts, trialSamples } from "./trial-counts.ts";

/** Where the gateways show their metrics. */
export interface GatewayMetricsService {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

export interface TrialMetricsOptions {
  readonly client: KubeClient;
  readonly service: GatewayMetricsService;
  readonly connect: Connect;
  readonly log: Log;
  /** Called with the adapter's key when more was counted of it. */
  readonly onChange: (key: string) => void;
  /** How often the gateways are asked, in milliseconds. */
  readonly periodMs?: number | undefined;
  readonly signal: AbortSignal;
}

/** How often the gateways are asked while a canary with thresholds goes on. */
const PERIOD_MS = 5_000;
/** How long a gateway has for its answer. */
const ANSWER_MS = 4_000;
const MAX_PAGE_BYTES = 16 * 1024 * 1024;

/** Asks the gateways what became of requests to contents on trial, as long as there are some whose thresholds somebody set. */
export class TrialMetrics {
  readonly #options: TrialMetricsOptions;
  readonly #trials = new Map<string, { readonly step: string; readonly counts: TrialCounts }>();
  #dispatcher: Dispatcher | undefined;
  #running: Promise<void> | undefined;

  constructor(options: TrialMetricsOptions) {
    this.#options = options;
  }

  /** Counts a step's responses from now on. The same step goes on. */
  follow(key: string, trial: Trial): void {
    if (this.#trials.get(key)?.step === trial.step) return;
    this.#trials.set(key, { step: trial.step, counts: new TrialCounts(trial) });
    this.#running ??= this.#run();
  }

  unfollow(key: string): void {
    this.#trials.delete(key);
  }

  /** What was counted in a step so far; `undefined` of one that is not followed. */
  health(key: string, step: string): Health | undefined {
    const trial = this.#trials.get(key);
    return trial?.step === step ? trial.counts.health : undefined;
  }

  /** Ends with its signal. */
  async close(): Promise<void> {
    this.#trials.clear();
    await this.#running;
    await this.#dispatcher?.close();
  }

  async #run(): Promise<void> {
    const { signal, log, service, periodMs = PERIOD_MS } = this.#options;
    let failing = false;
    try {
      do {
        try {
          await this.#ask(signal);
          failing = false;
        } catch (error) {
          if (signal.aborted) return;
          const { namespace, name, port } = service;
          if (!failing)
            log.warn(
              { service: `${namespace}/${name}`, port, error },
              "the gateways' metrics cannot be had: thresholds of canaries are not looked at; see --gateway-metrics-service",
            );
          failing = true;
        }
      } while (this.#trials.size > 0 && (await sleep(periodMs, signal)) && this.#trials.size > 0);
    } finally {
      this.#running = undefined;
    }
  }

  /** Asks every gateway once. One that does not answer is passed over: what it counted meanwhile comes with its next answer. */
  async #ask(signal: AbortSignal): Promise<void> {
    const { client, service, onChange } = this.#options;
    const slices = await client.list(
      ENDPOINT_SLICES,
      { namespace: service.namespace, labelSelector: `kubernetes.io/service-name=${service.name}` },
      deadline(ANSWER_MS, signal),
    );
    const addresses = new Set(slices.flatMap((s) => (s.endpoints ?? []).flatMap((e) => e.addresses.slice(0, 1))));
    if (addresses.size === 0) throw new Error("the Service has no endpoints");
    const pages = await Promise.allSettled([...addresses].map(async (ip) => ({ ip, samples: await this.#page(ip, signal) })));
    signal.throwIfAborted();
    const answered = pages.flatMap((p) => (p.status === "fulfilled" ? [p.value] : []));
    for (const [key, { counts }] of this.#trials) {
      const before = counts.health.responses;
      for (const { ip, samples } of answered) counts.add(ip, samples);
      if (counts.health.responses !== before) onChange(key);
    }
    const failed = pages.find((p) => p.status === "rejected");
    if (answered.length === 0 && failed !== undefined) throw failed.reason;
  }

  async #page(ip: string, signal: AbortSignal): Promise<Sample[]> {
    const { connect, service } = this.#options;
    this.#dispatcher ??= podDispatcher();
    const answer = await request(`${connect(ip, service.port)}/metrics`, {
      dispatcher: this.#dispatcher,
      signal: deadline(ANSWER_MS, signal),
    });
    let page = "";
    for await (const part of answer.body.setEncoding("utf8")) {
      page += part;
      if (page.length > MAX_PAGE_BYTES) throw new Error(`metrics of more than ${MAX_PAGE_BYTES} bytes`);
    }
    if (answer.statusCode !== 200) throw new Error(`${ip} answered with status ${answer.statusCode}`);
    return trialSamples(page);
  }
}
