import { stringify } from "yaml";
import { BASE_MODEL, type PlanInput } from "./plan.ts";

/**
 * The gateway's `--endpoints-config` file: each engine with the runtime that tells what it serves.
 * An engine that wants an API key does not tell its base model to a runtime that has no key yet, so where we know the name it stands here.
 */
export function endpointsConfig({
  engines,
  engine,
  engineArgs,
  apiKey,
}: Pick<PlanInput, "engines" | "engine" | "engineArgs" | "apiKey">): string {
  const renamed = engineArgs.some((a) => /^--served[-_]model[-_]name/.test(a));
  const locked = engine !== "external" && apiKey !== undefined && !renamed;
  const entries = engines.map(({ url, runtimePort }) => ({
    engine: url,
    runtime: `http://127.0.0.1:${runtimePort}`,
    ...(locked ? { models: [BASE_MODEL] } : {}),
  }));
  return stringify({ engines: entries });
}
