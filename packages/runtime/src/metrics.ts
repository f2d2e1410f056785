import { ADAPTER_STATES, type AdapterStatus } from "@aibrix/api";
import { Counter, createRegistry, Gauge, Histogram, type Registry } from "@aibrix/service";

const PREFIX = "aibrix_runtime_";

/** Every metric of the runtime. */
export interface Metrics {
  readonly registry: Registry;
  readonly downloads: Counter<"result">;
  readonly downloadedBytes: Counter;
  readonly loadSeconds: Histogram<"result">;
  readonly repairs: Counter;
  readonly adapters: Gauge<"state">;
  readonly engineUp: Gauge;
  readonly engineScrapes: Counter<"result">;
  readonly restoreSeconds: Histogram;
  readonly cacheHits: Counter;
  readonly cacheMisses: Counter;
  readonly cacheEntries: Gauge<"volume">;
  readonly cacheBytes: Gauge<"volume">;
  readonly cacheEvictions: Counter;
  readonly cacheEvictedBytes: Counter;
}

/** The process's own metrics carry the prefix too: the engine's stand on the same page. */
export function createMetrics(): Metrics {
  const registry = createRegistry(PREFIX);
  const registers = [registry];
  return {
    registry,
    downloads: new Counter({
      name: `${PREFIX}downloads_total`,
      help: "Artifacts that were asked for, by result.",
      labelNames: ["result"],
      registers,
    }),
    downloadedBytes: new Counter({ name: `${PREFIX}downloaded_bytes_total`, help: "Bytes that came from sources.", registers }),
    loadSeconds: new Histogram({
      name: `${PREFIX}load_seconds`,
      help: "Time that the engine took to load an adapter, by result.",
      labelNames: ["result"],
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
      registers,
    }),
    repairs: new Counter({
      name: `${PREFIX}repairs_total`,
      help: "Adapters that were put back into the engine after it had lost them.",
      registers,
    }),
    adapters: new Gauge({ name: `${PREFIX}adapters`, help: "Adapters by state.", labelNames: ["state"], registers }),
    engineUp: new Gauge({ name: `${PREFIX}engine_up`, help: "1 while the engine answers.", registers }),
    engineScrapes: new Counter({
      name: `${PREFIX}engine_scrapes_total`,
      help: "Times that the engine was asked for its metrics, by result.",
      labelNames: ["result"],
      registers,
    }),
    restoreSeconds: new Histogram({
      name: `${PREFIX}restore_seconds`,
      help: "Time from an engine that answers after a start until its adapters were back or had failed.",
      buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
    cacheHits: new Counter({
      name: `${PREFIX}cache_hits_total`,
      help: "Artifacts that were here already, fetched before, for another adapter or by another pod.",
      registers,
    }),
    cacheMisses: new Counter({ name: `${PREFIX}cache_misses_total`, help: "Artifacts that had to be downloaded.", registers }),
    cacheEntries: new Gauge({
      name: `${PREFIX}cache_entries`,
      help: "Contents and half downloads in the cache of a volume, those that adapters use included.",
      labelNames: ["volume"],
      registers,
    }),
    cacheBytes: new Gauge({
      name: `${PREFIX}cache_bytes`,
      help: "Bytes in the cache of a volume, those that adapters use included.",
      labelNames: ["volume"],
      registers,
    }),
    cacheEvictions: new Counter({
      name: `${PREFIX}cache_evictions_total`,
      help: "Contents and half downloads that this pod removed from the cache to make room.",
      registers,
    }),
    cacheEvictedBytes: new Counter({
      name: `${PREFIX}cache_evicted_bytes_total`,
      help: "Bytes that this pod removed from the cache to make room.",
      registers,
    }),
  };
}

/** Sets the gauges from what the runtime shows. */
export function setGauges(metrics: Metrics, adapters: readonly AdapterStatus[], engineReady: boolean): void {
  for (const state of ADAPTER_STATES) metrics.adapters.set({ state }, adapters.filter((a) => a.state === state).length);
  metrics.engineUp.set(engineReady ? 1 : 0);
}
