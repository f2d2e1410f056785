import { aborted, ConfigError, createRegistry, type Logger, sideServer } from "@aibrix/service";
import { readEndpointsFile, watchEndpointsFile } from "./endpoints/config-file.ts";
import { EngineSources } from "./endpoints/sources.ts";
import { listen } from "./grpc/server.ts";
import { gatewayMetrics } from "./metrics.ts";
import type { Options } from "./options.ts";
import { Picker } from "./picking/picker.ts";
import { RoutingTable } from "./routing/table.ts";

/** Time for running streams to end when the program is asked to, in milliseconds. */
const DRAIN_MS = 5_000;

/**
 * Runs the gateway until the signal aborts, then drains it.
 *
 * @throws {@link ConfigError} for an endpoints file or an address that cannot be used
 */
export async function runGateway(options: Options, log: Logger, signal: AbortSignal): Promise<void> {
  const endpoints = await readEndpointsFile(options.endpointsConfig);
  const table = new RoutingTable();
  const registry = createRegistry();
  const metrics = gatewayMetrics(registry, table);
  const picker = new Picker({ now: () => performance.now(), random: Math.random });
  const grpc = await listen(options.grpc, {
    routes: table,
    pick: (addresses) => picker.pick(addresses),
    onRoutesChange: (callback) => table.onChange(callback),
    onResult: (result) => metrics.requests.inc({ result }),
    onWaited: (result) => metrics.waits.inc({ result }),
    onDefect: (error) => {
      metrics.defects.inc();
      log.error({ err: error }, "a request failed by a defect");
    },
  });
  const sources = new EngineSources(table, log, () => grpc.health.set(sources.untried().untried === 0 && !signal.aborted));
  const side = sideServer({ metrics: registry, notReady: () => notReady(sources, signal) });
  try {
    let metricsPort: number | undefined;
    if (options.metrics !== undefined) {
      metricsPort = Number(new URL(await listenSide(side, options.metrics)).port);
    }
    sources.apply(endpoints);
    log.info({ grpcPort: grpc.port, metricsPort, engines: endpoints.length }, "listening");
    await Promise.all([watchEndpointsFile(options.endpointsConfig, (e) => sources.apply(e), log, signal), aborted(signal)]);
  } finally {
    const clean = await grpc.drain(DRAIN_MS);
    log.info({ clean }, "drained");
    await Promise.all([sources.close(), side.close()]);
  }
}

function notReady(sources: EngineSources, signal: AbortSignal): string | undefined {
  if (signal.aborted) return "the gateway is ending";
  const { untried, of } = sources.untried();
  return untried === 0 ? undefined : `waiting for the first state of ${untried} of ${of} engines`;
}

async function listenSide(side: ReturnType<typeof sideServer>, address: { readonly host: string; readonly port: number }): Promise<string> {
  try {
    return await side.listen(address);
  } catch (error) {
    throw new ConfigError(`--metrics-bind-address: cannot listen on ${address.host}:${address.port}: ${(error as Error).message}`);
  }
}
