import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureCached } from "./cache.ts";
import { findByEnv } from "./find.ts";
import { buildGo } from "./go-build.ts";
import type { PartContext } from "./part-context.ts";

/** Where the program is. */
export interface GatewayBenchPaths {
  readonly bin: string;
}

/** Beside `src` and `dist` alike. */
const SOURCES = fileURLToPath(new URL("../../../gateway/bench/go/", import.meta.url));

/**
 * What the gateway's bench needs beside Envoy: an ext_proc server in Go to compare with, engines and a client. AIBRIX_GATEWAY_BENCH_BIN, else
 * built with Go from the sources beside the bench (half a minute).
 * @throws PartError naming what is missing.
 */
export async function ensureGatewayBench(context: PartContext): Promise<GatewayBenchPaths> {
  const chosen = await findByEnv("AIBRIX_GATEWAY_BENCH_BIN");
  if (chosen !== undefined) return { bin: chosen };
  const module = {
    what: "the gateway's bench",
    dir: SOURCES,
    programs: { "gateway-bench": "." },
    ldflags: "-s -w",
    remedy: "Or set AIBRIX_GATEWAY_BENCH_BIN to a build of your own.",
  };
  const part = { name: "gateway-bench", version: await contentVersion(), recipe: 1 };
  const dir = await ensureCached(part, context, (target) => buildGo(module, target, context));
  return { bin: join(dir, "gateway-bench") };
}

/** Changes with the sources, so that what other sources built is never taken for them. */
async function contentVersion(): Promise<string> {
  const hash = createHash("sha256");
  const names = (await readdir(SOURCES)).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name)).sort();
  for (const name of names) hash.update(`${name}\0`).update(await readFile(join(SOURCES, name)));
  return hash.digest("hex").slice(0, 12);
}
