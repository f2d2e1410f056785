import { collectDefaultMetrics, Registry } from "prom-client";

/**
 * A registry with Node's and the process's own metrics in it. One per program.
 *
 * @param prefix - set before the names of those, where another process's metrics are shown on the same page
 */
export function createRegistry(prefix: string = ""): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix });
  return registry;
}
