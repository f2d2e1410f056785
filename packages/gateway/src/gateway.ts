import { aborted, ConfigError, createRegistry, type Logger, sideServer } from "@aibrix/service";
import { logRequest } from "./access-log.ts";
import { standaloneSource } from "./endpoints/standalone.ts";
import { listen } from "./grpc/server.ts";
import { gatewayMetrics } from "./metrics.ts";
import type { Options } from "./options.ts";
import { Attempts } from "./phases/types.ts";
import { followLoads } from "./picking/load-follower.ts";
import { Loads } from "./picking/loads.ts";
import { Picker } from "./picking/picker.ts";
import type { RoutingSource } from "./routing/source.ts";
import { RoutingTable } from "./routing/table.ts";

/** Time for running streams to end when the program is asked to, in milliseconds. */
const DRAIN_MS = 5_000;

/** Pause between two looks at an engine's load, in milliseconds. Between them counts what was sent. */
const LOADS_PERIOD_MS = 1_000;

/** Edges that a test replaces. */
export interface GatewayDeps {
  /** By which address (`ip:port`) Envoy reaches an engine; the engine's own where absent. For pods that are only API objects. */
  readonly reach?: (address: string) => string;
}

/**
 * Runs the gateway until the signal aborts, then drains it.
 *
 * @throws {@link ConfigError} for an endpoints file, a kubeconfig or an address that cannot be used
 */
export async function runGateway(options: Options, log: Logger, signal: AbortSignal, deps: GatewayDeps = {}): Promise<void> {
  const table = new RoutingTable();
  let openStreams = (): number => 0;
  let held = (): number => 0;
  let onProgress = (): void => undefined;
  const source = await openSource(options.source, table, log, () => onProgress());
  const notReady = (): string | undefined => (signal.aborted ? "the gateway is ending" : source.notReady());
  const registry = createRegistry();
  const now = (): number => performance.now();
  const metrics = gatewayMetrics(registry, table, options.maxModels, { streams: () => openStreams(), held: () => held() }, now);
  const { reach = (address) => address } = deps;
  const loads = new Loads();
  const picker = new Picker({ now, random: Math.random, loads });
  // A third of the program that few need.
  const tracing = options.tracing && (await import("./tracing/tracing.ts")).startTracing(options.tracing, log);
  const grpc = await listen(options.grpc, {
    routes: table,
    pick: (addresses, others) =>
      deps.reach === undefined ? picker.pick(addresses, others) : picker.pick(addresses.map(reach), others?.map(reach)),
    attempts: new Attempts(),
    inCanary: (weight) => Math.random() * 100 < weight,
    onRoutesChange: (callback) => table.onChange(callback),
    now,
    onDone: (record) => {
      metrics.onDone(record);
      if (options.accessLog) logRequest(log, record);
      return tracing?.record(record);
    },
    updateHoldMs: options.updateHoldMs,
    onAnswered: metrics.onAnswered,
    onWaited: (result) => metrics.waits.inc({ result }),
    onDefect: (error) => {
      metrics.defects.inc();
      log.error({ err: error }, "a request failed by a defect");
    },
  });
  openStreams = grpc.openStreams;
  held = grpc.held;
  onProgress = () => grpc.health.set(notReady() === undefined);
  const side = sideServer({ metrics: registry, notReady });
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  let following: Promise<void> | undefined;
  try {
    let metricsPort: number | undefined;
    if (options.metrics !== undefined) {
      metricsPort = Number(new URL(await listenSide(side, options.metrics)).port);
    }
    running = source.run(stop.signal);
    following = followLoads({ loads, addresses: () => table.addresses().map(reach), now, log, periodMs: LOADS_PERIOD_MS }, stop.signal);
    log.info({ grpcPort: grpc.port, metricsPort }, "listening");
    await Promise.race([running, aborted(signal)]);
  } finally {
    const clean = await grpc.drain(DRAIN_MS);
    log.info({ clean }, "drained");
    stop.abort();
    await Promise.all([running, following, side.close(), tracing?.close()]);
  }
}

async function openSource(from: Options["source"], table: RoutingTable, log: Logger, onProgress: () => void): Promise<RoutingSource> {
  if (from.kind === "file") return await standaloneSource(from.file, table, log, onProgress);
  // Half a second and 100 MB that standalone use does not need.
  const { kubernetesSource } = await import("./kubernetes/source.ts");
  return kubernetesSource(from, table, log, onProgress);
}

async function listenSide(side: ReturnType<typeof sideServer>, address: { readonly host: string; readonly port: number }): Promise<string> {
  try {
    return await side.listen(address);
  } catch (error) {
    throw new ConfigError(`--metrics-bind-address: cannot listen on ${address.host}:${address.port}: ${(error as Error).message}`);
  }
}
