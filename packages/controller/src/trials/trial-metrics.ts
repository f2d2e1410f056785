import { ENDPOINT_SLICES, type EndpointSlice, type KubeClient, type Log } from "@aibrix/kube";
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
  /** Ends the wait until the gateways are asked again. */
  #wake = new AbortController();
  /** Addresses of gateways that did not answer the last time. */
  #silent: ReadonlySet<string> = new Set();

  constructor(options: TrialMetricsOptions) {
    this.#options = options;
  }

  /** Counts a step's responses from now on. The same step goes on. */
  follow(key: string, trial: Trial): void {
    if (this.#trials.get(key)?.step === trial.step) return;
    this.#trials.set(key, { step: trial.step, counts: new TrialCounts(trial) });
    // What gateways show at first is of before the step: they are asked at once.
    this.#wake.abort();
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
        this.#wake = new AbortController();
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
        await sleep(periodMs, AbortSignal.any([signal, this.#wake.signal]));
      } while (this.#trials.size > 0 && !signal.aborted);
    } finally {
      this.#running = undefined;
    }
  }

  /** Asks every gateway once. One that does not answer is passed over: what it counted meanwhile comes with its next answer. */
  async #ask(signal: AbortSignal): Promise<void> {
    const { client, service, onChange, log } = this.#options;
    const slices = await client.list(
      ENDPOINT_SLICES,
      { namespace: service.namespace, labelSelector: `kubernetes.io/service-name=${service.name}` },
      deadline(ANSWER_MS, signal),
    );
    const gateways = gatewaysIn(slices);
    if (gateways.size === 0) throw new Error("the Service has no endpoints");
    const pages = await Promise.all([...gateways].map(async ([id, ip]) => ({ id, ip, ...(await this.#page(ip, signal)) })));
    signal.throwIfAborted();
    const nowMs = performance.now();
    for (const [key, { counts }] of this.#trials) {
      const before = counts.health;
      for (const { id, samples } of pages) if (samples !== undefined) counts.add(id, samples);
      counts.mark(nowMs);
      if (countOf(counts.health) !== countOf(before)) onChange(key);
    }
    const silent = pages.filter((p) => p.samples === undefined);
    const [first] = silent;
    if (silent.length === pages.length) throw first?.error;
    for (const { ip, error } of silent.filter((p) => !this.#silent.has(p.ip)))
      log.warn(
        { gateway: ip, error },
        "a gateway's metrics cannot be had: what it answers is not compared with thresholds of canaries until they can",
      );
    this.#silent = new Set(silent.map((p) => p.ip));
  }

  async #page(ip: string, signal: AbortSignal): Promise<{ readonly samples?: Sample[]; readonly error?: unknown }> {
    try {
      return { samples: await this.#samples(ip, signal) };
    } catch (error) {
      return { error };
    }
  }

  async #samples(ip: string, signal: AbortSignal): Promise<Sample[]> {
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

/** Responses, waits and clients that left, each of which only grows. */
function countOf({ responses, timed, left }: Health): number {
  return responses + timed + (left?.get(Number.POSITIVE_INFINITY) ?? 0);
}

/** An address of each gateway, by its pod: with two families a pod is in slices of both. Pure. */
export function gatewaysIn(slices: readonly EndpointSlice[]): ReadonlyMap<string, string> {
  const gateways = new Map<string, string>();
  for (const { endpoints } of slices) {
    for (const { addresses, targetRef } of endpoints ?? []) {
      const [ip] = addresses;
      const id = targetRef?.uid ?? ip;
      if (ip !== undefined && id !== undefined && !gateways.has(id)) gateways.set(id, ip);
    }
  }
  return gateways;
}
