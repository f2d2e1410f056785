import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { type PartContext, PartError } from "./part-context.ts";
import { ask, run } from "./run.ts";

/** The Envoy Gateway that the manifests are written for. */
export const ENVOY_GATEWAY_VERSION = "v1.9.1";

const MODULE = "github.com/envoyproxy/gateway";
/** In the module: the Gateway API's CRDs, and Envoy Gateway's own in `generated`. */
const CRDS_DIR = "charts/gateway-helm/charts/crds/crds";

/**
 * A folder with the CRDs of the Gateway API and of Envoy Gateway, from its Go module: `gatewayapi-crds.yaml`, `generated/*.yaml`.
 * @throws PartError naming what is missing.
 */
export async function ensureGatewayCrds(context: PartContext): Promise<string> {
  return ensureCached({ name: "envoy-gateway-crds", version: ENVOY_GATEWAY_VERSION, recipe: 1 }, context, async (dir) => {
    if ((await ask(["go", "version"], context.signal)) === undefined) {
      throw new PartError(
        `the CRDs of Envoy Gateway ${ENVOY_GATEWAY_VERSION} come by its Go module, and there is no go on PATH: install Go`,
      );
    }
    const work = await mkdtemp(join(tmpdir(), "aibrix-go-"));
    try {
      await writeFile(join(work, "go.mod"), "module aibrix.invalid/crds\n\ngo 1.21\n");
      const argv = ["go", "mod", "download", "-json", `${MODULE}@${ENVOY_GATEWAY_VERSION}`] as const;
      const answer = JSON.parse(await run({ argv, cwd: work, env: { GOFLAGS: "-mod=mod" }, timeoutMs: 10 * 60_000 }, context.signal));
      await cp(join(answer.Dir as string, CRDS_DIR), dir, { recursive: true });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
}
