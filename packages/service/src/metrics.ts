import { collectDefaultMetrics, Registry } from "prom-client";

/** A registry with Node's and the process's own metrics in it. One per program. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}
