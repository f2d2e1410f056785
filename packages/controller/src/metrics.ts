import { PHASES, type Phase } from "@aibrix/api";
import type { Call, Done } from "@aibrix/kube";
import { Counter, Gauge, Histogram, type Registry } from "@aibrix/service";
import type { CallKind } from "./engines/calls.ts";

/** What the gauges read when they are asked. */
export interface MetricSources {
  readonly phases: () => Iterable<Phase | undefined>;
  readonly queueDepth: () => Readonly<Record<string, number>>;
  readonly pods: () => number;
}

const CALL_BUCKETS_S = [0.005, 0.02, 0.1, 0.5, 1, 5, 30, 120, 600];

/** The controller's own metrics. */
export class ControllerMetrics {
  readonly #reconciles: Counter;
  readonly #reconcileSeconds: Histogram;
  readonly #waitSeconds: Histogram;
  readonly #apiCalls: Counter;
  readonly #podCalls: Histogram;
  readonly #leader: Gauge;
  readonly #events: Counter;
  #sources: MetricSources | undefined;

  constructor(registry: Registry) {
    const registers = [registry];
    const sources = () => this.#sources;
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
      help: "Calls to sidecars and engines: load and unload, by result.",
      labelNames: ["call", "result"],
      buckets: CALL_BUCKETS_S,
      registers,
    });
    this.#leader = new Gauge({ name: "aibrix_controller_leader", help: "1 while this process leads.", registers });
    this.#events = new Counter({
      name: "aibrix_controller_events_total",
      help: "What was told about adapters: Scheduled, Loaded, LoadFailed, Drifted, Repaired, Unloaded, GivenUp.",
      labelNames: ["reason"],
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

  podCall(call: CallKind, ok: boolean, durationMs: number): void {
    this.#podCalls.observe({ call, result: ok ? "ok" : "failed" }, durationMs / 1000);
  }

  told(reason: string): void {
    this.#events.inc({ reason });
  }

  leading(leads: boolean): void {
    this.#leader.set(leads ? 1 : 0);
  }
}
