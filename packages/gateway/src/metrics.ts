import { Counter, Gauge, type Registry } from "@aibrix/service";
import type { RoutingTable } from "./routing/table.ts";

/** The gateway's own metrics. No label holds a model's name: their number is not bounded. */
export interface GatewayMetrics {
  readonly requests: Counter<"result">;
  readonly waits: Counter<"result">;
  readonly defects: Counter;
}

/** Declares the gateway's metrics. */
export function gatewayMetrics(registry: Registry, table: RoutingTable): GatewayMetrics {
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
  return {
    requests: new Counter({
      name: "aibrix_gateway_requests_total",
      help: "Requests, by what came of them: routed, or the gateway's own answer.",
      labelNames: ["result"],
      registers,
    }),
    waits: new Counter({
      name: "aibrix_gateway_waits_total",
      help: "Requests that waited for a model to appear or to become ready, by how the wait ended.",
      labelNames: ["result"],
      registers,
    }),
    defects: new Counter({ name: "aibrix_gateway_defects_total", help: "Requests that failed by a defect of the gateway.", registers }),
  };
}
