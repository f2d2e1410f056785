import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { findByEnv, findOnPath } from "./find.ts";
import { installGo } from "./go-install.ts";
import type { PartContext } from "./part-context.ts";
import { ask } from "./run.ts";

const VERSION = "1.8.0";
const REMEDY = "Or set AIBRIX_VERSITYGW_BIN to a versitygw of your own.";

/** Where the S3 server is. */
export interface VersitygwPaths {
  readonly bin: string;
}

/**
 * versitygw, an S3 server over a folder: AIBRIX_VERSITYGW_BIN, else version 1.8 on PATH, else built with Go (about a minute).
 * @throws PartError naming what is missing.
 */
export async function ensureVersitygw(context: PartContext): Promise<VersitygwPaths> {
  const chosen = (await findByEnv("AIBRIX_VERSITYGW_BIN")) ?? (await fittingOnPath(context.signal));
  if (chosen !== undefined) return { bin: chosen };
  const dir = await ensureCached({ name: "versitygw", version: VERSION, recipe: 1 }, context, (target) => build(target, context));
  return { bin: join(dir, "versitygw") };
}

async function fittingOnPath(signal: AbortSignal): Promise<string | undefined> {
  const bin = await findOnPath("versitygw");
  if (bin === undefined) return undefined;
  return versitygwVersion((await ask([bin, "--version"], signal)) ?? "")?.startsWith("1.8.") ? bin : undefined;
}

/** The version in the output of `versitygw --version`, whose first line reads `Version  : v1.8.0`. */
export function versitygwVersion(output: string): string | undefined {
  return /^Version\s*:\s*v?(\d+\.\d+\.\d+)/m.exec(output)?.[1];
}

async function build(dir: string, context: PartContext): Promise<void> {
  await installGo(
    {
      what: `the S3 server versitygw ${VERSION}`,
      pkg: `github.com/versity/versitygw/cmd/versitygw@v${VERSION}`,
      ldflags: `-s -w -X main.Version=v${VERSION}`,
      minGo: "1.24",
      remedy: REMEDY,
    },
    dir,
    context,
  );
}
