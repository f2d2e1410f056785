import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureCached } from "./cache.ts";
import { findByEnv } from "./find.ts";
import { buildGo } from "./go-build.ts";
import type { PartContext } from "./part-context.ts";

const VERSION = "2.3.0";

/** Where s5cmd is. */
export interface S5cmdPaths {
  readonly bin: string;
}

/**
 * s5cmd, a fast client of S3 that measurements compare with: AIBRIX_S5CMD_BIN, else built with Go (about a minute).
 * @throws PartError naming what is missing.
 */
export async function ensureS5cmd(context: PartContext): Promise<S5cmdPaths> {
  const chosen = await findByEnv("AIBRIX_S5CMD_BIN");
  if (chosen !== undefined) return { bin: chosen };
  const module = {
    what: `s5cmd ${VERSION}`,
    // Beside `src` and `dist` alike.
    dir: fileURLToPath(new URL("../../s5cmd/", import.meta.url)),
    programs: { s5cmd: "github.com/peak/s5cmd/v2" },
    ldflags: "-s -w",
    remedy: "Or set AIBRIX_S5CMD_BIN to an s5cmd of your own.",
  };
  const dir = await ensureCached({ name: "s5cmd", version: VERSION, recipe: 1 }, context, (target) => buildGo(module, target, context));
  return { bin: join(dir, "s5cmd") };
}
