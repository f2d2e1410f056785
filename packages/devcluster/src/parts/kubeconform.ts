import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { findByEnv } from "./find.ts";
import { installGo } from "./go-install.ts";
import type { PartContext } from "./part-context.ts";

const VERSION = "0.8.0";

/**
 * kubeconform, which reads manifests by JSON schemas: AIBRIX_KUBECONFORM_BIN, else built with Go (half a minute).
 * @throws PartError naming what is missing.
 */
export async function ensureKubeconform(context: PartContext): Promise<string> {
  const chosen = await findByEnv("AIBRIX_KUBECONFORM_BIN");
  if (chosen !== undefined) return chosen;
  const program = {
    what: `kubeconform ${VERSION}`,
    pkg: `github.com/yannh/kubeconform/cmd/kubeconform@v${VERSION}`,
    ldflags: "-s -w",
    minGo: "1.24",
    remedy: "Or set AIBRIX_KUBECONFORM_BIN to one of your own.",
  };
  const dir = await ensureCached({ name: "kubeconform", version: VERSION, recipe: 1 }, context, (target) =>
    installGo(program, target, context),
  );
  return join(dir, "kubeconform");
}
