import { PHASES, type Phase } from "@aibrix/api";
import type { Call, Done, NewEvent } from "@aibrix/kube";
import { Counter, Gauge, Histogram, type Registry } from "@aibrix/service";
import type { AdapterView } from "./engines/agent.ts";
import type { CallOutcome } from "./engines/calls.ts";

/** What the gauges read when they are asked. */
export interface MetricSources {
  readonly phases: () => Iterable<Phase | undefined>;
  readonly queueDepth: () => Readonly<Record<string, number>>;
  readonly pods: () => number;
}

/** How the caches fare, whether this process leads or waits. */
export type CacheSource = () => Iterable<{ readonly resource: string; readonly connected: boolean }>;

/** What was repaired, by the action of its event. */
const REPAIRED: Readonly<Record<string, string>> = { WriteService: "service", WriteSlices: "slices" };

const CALL_BUCKETS_S = [0.005, 0.02, 0.1, 0.5, 1, 5, 30, 120, 600];

/** The controller's own metrics. */
export class ControllerMetrics {
  readonly #reconciles: Counter;
  readonly #reconcileSeconds: Histogram;
  readonly #waitSeconds: Histogram;
  readonly #apiCalls: Counter;
  readonly #podCalls: Histogram;
  readonly #loads: Histogram;
  readonly #unloads: Histogram;
  readonly #engineLoads: Histogram;
  readonly #downloads: Histogram;
  readonly #repairs: Counter;
  readonly #retries: Counter;
  readonly #leader: Gauge;
  readonly #events: Counter;
  readonly #eventsDropped: Counter;
  #sources: MetricSources | undefined;
  #caches: CacheSource = () => [];

  constructor(registry: Registry) {
    const registers = [registry];
    const sources = () => this.#sources;
    const caches = () => this.#caches();
    this.#reconciles = new Counter({
      name: "aibrix_controller_reconciles_total",
      help: "Reconciliations by how they ended: success, requeue, retry, terminal.",
      labelNames: ["controller", "result"],
      registers,
    });
    this.#reconcileSeconds = new Histogram({
      name: "aibrix_controller_reconcile_seconds",
      help: "How long a reconciliation took, calls to the API server included.",
      labelNames: ["controller"],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      registers,
    });
    this.#waitSeconds = new Histogram({
      name: "aibrix_controller_queue_wait_seconds",
      help: "How long a key waited for a worker.",
      labelNames: ["controller"],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      registers,
    });
    this.#apiCalls = new Counter({
      name: "aibrix_controller_api_calls_total",
      help: "Requests to the API server; code 0 where no answer came.",
      labelNames: ["verb", "resource", "code"],
      registers,
    });
    this.#podCalls = new Histogram({
      name: "aibrix_controller_pod_call_seconds",
      help: "Calls to sidecars and engines until they are answered: load, unload and release, by result. A sidecar answers before it has done it.",
      labelNames: ["call", "result"],
      buckets: CALL_BUCKETS_S,
      registers,
    });
    this.#loads = new Histogram({
      name: "aibrix_controller_load_seconds",
      help: "From asking a pod for an adapter until it is served there (ok), or says that it cannot be (failed).",
      labelNames: ["result"],
      buckets: CALL_BUCKETS_S,
      registers,
    });
    this.#unloads = new Histogram({
      name: "aibrix_controller_unload_seconds",
      help: "From asking a pod to give an adapter up until it has.",
      buckets: CALL_BUCKETS_S,
      registers,
    });
    this.#downloads = new Histogram({
      name: "aibrix_controller_download_seconds",
      help: "How long downloads took, as sidecars tell once the adapter is served.",
      buckets: CALL_BUCKETS_S,
      registers,
    });
    this.#engineLoads = new Histogram({
      name: "aibrix_controller_engine_load_seconds",
      help: "How long loads took in the engines, as sidecars tell once the adapter is served.",
      buckets: CALL_BUCKETS_S,
      registers,
    });
    this.#repairs = new Counter({
      name: "aibrix_controller_repairs_total",
      help: "Drift that was made good: an adapter on a pod, its Service, its EndpointSlices.",
      labelNames: ["what"],
      registers,
    });
    this.#retries = new Counter({
      name: "aibrix_controller_retries_total",
      help: "Calls to sidecars and engines that were made again after one in vain.",
      labelNames: ["call"],
      registers,
    });
    new Gauge({
      name: "aibrix_controller_reflector_connected",
      help: "1 while the API server tells of changes.",
      labelNames: ["resource"],
      registers,
      collect() {
        const worst = new Map<string, number>();
        for (const { resource, connected } of caches()) worst.set(resource, Math.min(worst.get(resource) ?? 1, connected ? 1 : 0));
        for (const [resource, connected] of worst) this.set({ resource }, connected);
      },
    });
    this.#leader = new Gauge({ name: "aibrix_controller_leader", help: "1 while this process leads.", registers });
    this.#events = new Counter({
      name: "aibrix_controller_events_total",
      help: "What was told about adapters, by the reason of the event.",
      labelNames: ["reason"],
      registers,
    });
    this.#eventsDropped = new Counter({
      name: "aibrix_controller_events_dropped_total",
      help: "Events that were left out: too many of one object, or more than the API server took.",
      registers,
    });
    new Gauge({
      name: "aibrix_controller_queue_depth",
      help: "Keys that wait for a worker.",
      labelNames: ["controller"],
      registers,
      collect() {
        for (const [controller, depth] of Object.entries(sources()?.queueDepth() ?? {})) this.set({ controller }, depth);
      },
    });
    new Gauge({
      name: "aibrix_controller_adapters",
      help: "ModelAdapters by phase.",
      labelNames: ["phase"],
      registers,
      collect() {
        const counts = new Map<Phase, number>(PHASES.map((p) => [p, 0]));
        for (const phase of sources()?.phases() ?? []) counts.set(phase ?? "Pending", (counts.get(phase ?? "Pending") ?? 0) + 1);
        for (const [phase, count] of counts) this.set({ phase }, count);
      },
    });
    new Gauge({
      name: "aibrix_controller_pods",
      help: "Pods that are talked to.",
      registers,
      collect() {
        this.set(sources()?.pods() ?? 0);
      },
    });
  }

  /** Says where the gauges read. */
  observe(sources: MetricSources): void {
    this.#sources = sources;
  }

  reconciled(controller: string, { outcome, waitedMs, durationMs }: Done): void {
    this.#reconciles.inc({ controller, result: outcome });
    this.#reconcileSeconds.observe({ controller }, durationMs / 1000);
    this.#waitSeconds.observe({ controller }, waitedMs / 1000);
  }

  apiCall({ verb, resource, subresource, status }: Call): void {
    this.#apiCalls.inc({ verb, resource: subresource === undefined ? resource : `${resource}/${subresource}`, code: String(status) });
  }

  /** Says which caches there are. */
  observeCaches(caches: CacheSource): void {
    this.#caches = caches;
  }

  podCall({ kind, ok, durationMs, attempt }: CallOutcome): void {
    this.#podCalls.observe({ call: kind, result: ok ? "ok" : "failed" }, durationMs / 1000);
    if (attempt > 1) this.#retries.inc({ call: kind });
  }

  /**
   * An adapter is served on a pod, or cannot be.
   *
   * @param tookMs - since it was asked for; `undefined` where this process did not ask
   */
  loaded(result: "ok" | "failed", tookMs: number | undefined, timings: AdapterView["timings"]): void {
    if (tookMs === undefined) return;
    this.#loads.observe({ result }, tookMs / 1000);
    if (timings?.downloadMs !== undefined) this.#downloads.observe(timings.downloadMs / 1000);
    if (timings?.loadMs !== undefined) this.#engineLoads.observe(timings.loadMs / 1000);
  }

  unloaded(tookMs: number | undefined): void {
    if (tookMs !== undefined) this.#unloads.observe(tookMs / 1000);
  }

  told({ reason, action }: Pick<NewEvent, "reason" | "action">): void {
    this.#events.inc({ reason });
    if (reason === "Repaired") this.#repairs.inc({ what: REPAIRED[action] ?? "pod" });
  }

  eventDropped(): void {
    this.#eventsDropped.inc();
  }

  leading(leads: boolean): void {
    this.#leader.set(leads ? 1 : 0);
  }
}
