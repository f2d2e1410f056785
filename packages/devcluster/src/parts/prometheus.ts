import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { unpackDebian } from "./debian.ts";
import { findByEnv, findOnPath } from "./find.ts";
import { type PartContext, PartError } from "./part-context.ts";

/** Where Prometheus is. */
export interface PrometheusPaths {
  readonly bin: string;
}

/**
 * Prometheus: AIBRIX_PROMETHEUS_BIN, else on PATH, else Debian's package, unpacked into the cache.
 * @throws PartError naming what is missing.
 */
export async function ensurePrometheus(context: PartContext): Promise<PrometheusPaths> {
  const chosen = (await findByEnv("AIBRIX_PROMETHEUS_BIN")) ?? (await findOnPath("prometheus"));
  if (chosen !== undefined) return { bin: chosen };
  const dir = await ensureCached({ name: "prometheus", version: "debian", recipe: 1 }, context, async (target) => {
    try {
      await unpackDebian("prometheus", target, context);
    } catch (error) {
      if (!(error instanceof PartError)) throw error;
      throw new PartError(`cannot get Prometheus: ${error.message}\nSet AIBRIX_PROMETHEUS_BIN to one of your own.`);
    }
  });
  return { bin: join(dir, "usr/bin/prometheus") };
}
