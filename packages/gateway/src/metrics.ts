import { Counter, Gauge, Histogram, type Registry } from "@aibrix/service";
import { modelNotFound } from "./openai/errors.ts";
import { OTHER_MODELS, PairCounts } from "./pair-counts.ts";
import { MODEL_FROM, type RequestRecord, resultOf } from "./requests.ts";
import type { RoutingTable } from "./routing/table.ts";
import { keyOf, TrialAnswers } from "./trial-answers.ts";

const NOT_FOUND = modelNotFound("").details;

/** Buckets for what the gateway adds to a request, in seconds: from tens of microseconds to the longest look-up and more. */
const SECONDS = [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.3, 1];

/**
 * Contents on trial that count by name whatever the bound of all models is, for a canary's thresholds are compared with these counts. As many at once
 * are more than anybody watches, and few for a metrics page.
 */
const MIN_TRIALS = 100;

/** The gateway's own metrics. */
export interface GatewayMetrics {
  /** Counts a request by what came of it. */
  readonly onDone: (record: RequestRecord) => void;
  /** Counts an answer of a model that has a content on trial. */
  readonly onAnswered: TrialAnswers["add"];
  readonly waits: Counter<"result">;
  readonly defects: Counter;
}

/**
 * Declares the gateway's metrics.
 *
 * @param maxModels - models that are counted by name; of contents on trial 100 are in every case
 * @param now - milliseconds, monotonic
 */
export function gatewayMetrics(
  registry: Registry,
  table: RoutingTable,
  maxModels: number,
  open: { readonly streams: () => number; readonly held: () => number },
  now: () => number,
): GatewayMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  };
  gauge("aibrix_gateway_engines", "Engines that are configured, or that run in the cluster.", () => table.counts().engines);
  gauge("aibrix_gateway_engines_ready", "Engines that take requests.", () => table.counts().ready);
  gauge("aibrix_gateway_models", "Names of base models and adapters that are known.", () => table.counts().models);
  gauge("aibrix_gateway_streams", "Requests that Envoy has shown and that are not decided.", open.streams);
  gauge(
    "aibrix_gateway_held_requests",
    "Of these, those that are held while the one engine that serves their adapter swaps its content.",
    open.held,
  );
  // Counted here and told when they are asked for: the library looks at the labels of every single count.
  const requests = new PairCounts();
  /** Of the gateway's own answers, by what they are: each has one status. */
  const codes = new Map<string, string>();
  new Counter({
    name: "aibrix_gateway_requests_total",
    help: "Requests, by what came of them (routed, client_left, or the gateway's own answer), by who found the model (envoy, body, or none) and by the status of that answer (code, empty where there is none).",
    labelNames: ["result", "model_from", "code"],
    registers,
    collect() {
      this.reset();
      for (const [result, from, count] of requests) this.inc({ result, model_from: from, code: codes.get(result) ?? "" }, count);
    },
  });
  const seconds = new Histogram({
    name: "aibrix_gateway_decision_seconds",
    help: "From Envoy's first message to the decision, without waits for a model.",
    buckets: SECONDS,
    registers,
  });
  const waited = new Histogram({
    name: "aibrix_gateway_wait_seconds",
    help: "How long requests waited for a model to appear or to become ready.",
    buckets: [...SECONDS.filter((s) => s >= 0.001), 3, 10, 30],
    registers,
  });
  const models = new PairCounts(maxModels, OTHER_MODELS);
  new Counter({
    name: "aibrix_gateway_model_requests_total",
    help: `Requests for models that are known, by what came of them. Models beyond the bound count as ${OTHER_MODELS}.`,
    labelNames: ["model", "result"],
    registers,
    collect() {
      this.reset();
      for (const [model, result, count] of models) this.inc({ model, result }, count);
    },
  });
  const versions = new PairCounts(maxModels, OTHER_MODELS);
  new Counter({
    name: "aibrix_gateway_version_requests_total",
    help: "Requests for models of which a content is on trial, by which content (stable, canary) they were sent to.",
    labelNames: ["model", "namespace", "version"],
    registers,
    collect() {
      this.reset();
      for (const [key, version, count] of versions) this.inc({ ...namesOf(key), version }, count);
    },
  });
  const answers = new TrialAnswers(registry, {
    maxModels: Math.max(maxModels, MIN_TRIALS),
    isOnTrial: (model, namespace) => table.isOnTrial(model, namespace),
    now,
  });
  return {
    onAnswered: (trial, status, afterMs) => answers.add(trial, status, afterMs),
    onDone: (record) => {
      const { reply, durationMs, waitedMs } = record;
      const result = resultOf(record);
      requests.add(result, reply.phase === undefined ? "none" : MODEL_FROM[reply.phase]);
      if (reply.kind === "left") return;
      if (reply.kind === "answer" && !codes.has(result)) codes.set(result, String(reply.answer.status));
      seconds.observe((durationMs - waitedMs) / 1_000);
      if (waitedMs > 0) waited.observe(waitedMs / 1_000);
      // What nobody has is a client's word: the number of such names has no bound.
      if (reply.model !== undefined && result !== NOT_FOUND) models.add(reply.model, result);
      if (reply.kind === "route" && reply.trial !== undefined)
        versions.add(keyOf(reply.trial.model, reply.trial.namespace), reply.trial.version);
    },
    waits: new Counter({
      name: "aibrix_gateway_waits_total",
      help: "Requests that waited for a model to appear or to become ready, by how the wait ended.",
      labelNames: ["result"],
      registers,
    }),
    defects: new Counter({ name: "aibrix_gateway_defects_total", help: "Requests that failed by a defect of the gateway.", registers }),
  };
}

/** What {@link keyOf} made one text of; {@link OTHER_MODELS} are of no namespace. A namespace has no slash, a model may. */
function namesOf(key: string): { readonly model: string; readonly namespace: string } {
  const slash = key.indexOf("/");
  return { model: key.slice(slash + 1), namespace: key.slice(0, Math.max(slash, 0)) };
}
