import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { type PartContext, PartError } from "./part-context.ts";
import { ask, run } from "./run.ts";

/** The Envoy Gateway that the manifests are written for. */
export const ENVOY_GATEWAY_VERSION = "v1.9.1";

const MODULE = "github.com/envoyproxy/gateway";

/** Folders of Envoy Gateway's charts, as its release packs them. */
export interface GatewayCharts {
  /** `gateway-helm`: Envoy Gateway with all CRDs, in `charts/crds/crds`. */
  readonly gateway: string;
  /** `gateway-crds-helm`: CRDs alone, of the Gateway API by channel. */
  readonly crds: string;
}

/**
 * The charts of Envoy Gateway from its Go module, with what its release fills in: version and image.
 * @throws PartError naming what is missing.
 */
export async function ensureGatewayCharts(context: PartContext): Promise<GatewayCharts> {
  const dir = await ensureCached({ name: "envoy-gateway-charts", version: ENVOY_GATEWAY_VERSION, recipe: 1 }, context, async (target) => {
    await cp(join(await moduleDir(context), "charts"), target, { recursive: true });
    // Go's modules are read-only.
    await run({ argv: ["chmod", "-R", "u+w", target] }, context.signal);
    await release(join(target, "gateway-helm"));
    await release(join(target, "gateway-crds-helm"));
  });
  return { gateway: join(dir, "gateway-helm"), crds: join(dir, "gateway-crds-helm") };
}

/**
 * A folder with the CRDs of the Gateway API and of Envoy Gateway, as its chart has them: `gatewayapi-crds.yaml`, `generated/*.yaml`.
 * @throws PartError naming what is missing.
 */
export async function ensureGatewayCrds(context: PartContext): Promise<string> {
  return join((await ensureGatewayCharts(context)).gateway, "charts/crds/crds");
}

async function moduleDir(context: PartContext): Promise<string> {
  if ((await ask(["go", "version"], context.signal)) === undefined) {
    throw new PartError(
      `the charts of Envoy Gateway ${ENVOY_GATEWAY_VERSION} come by its Go module, and there is no go on PATH: install Go`,
    );
  }
  const work = await mkdtemp(join(tmpdir(), "aibrix-go-"));
  try {
    await writeFile(join(work, "go.mod"), "module aibrix.invalid/charts\n\ngo 1.21\n");
    const argv = ["go", "mod", "download", "-json", `${MODULE}@${ENVOY_GATEWAY_VERSION}`] as const;
    const answer = JSON.parse(await run({ argv, cwd: work, env: { GOFLAGS: "-mod=mod" }, timeoutMs: 10 * 60_000 }, context.signal));
    return answer.Dir as string;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The sources of a chart have variables where its release has the image, and no version. */
async function release(chart: string): Promise<void> {
  const variables = { GatewayImage: `docker.io/envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`, GatewayImagePullPolicy: "IfNotPresent" };
  let values = await readFile(join(chart, "values.tmpl.yaml"), "utf8");
  for (const [name, value] of Object.entries(variables)) values = values.replaceAll(`\${${name}}`, value);
  const open = /\$\{\w+\}/.exec(values);
  if (open !== null) throw new PartError(`${chart}/values.tmpl.yaml has the variable ${open[0]}, whose value is not known`);
  await writeFile(join(chart, "values.yaml"), values);
  const file = join(chart, "Chart.yaml");
  const about = (await readFile(file, "utf8")).replace(/^(version|appVersion): .*$/gm, `$1: ${ENVOY_GATEWAY_VERSION}`);
  await writeFile(file, about);
}
