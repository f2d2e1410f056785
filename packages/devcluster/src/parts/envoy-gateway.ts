import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureCached } from "./cache.ts";
import { findByEnv } from "./find.ts";
import { ENVOY_GATEWAY_VERSION } from "./gateway-charts.ts";
import { buildGo } from "./go-build.ts";
import type { PartContext } from "./part-context.ts";

const MODULE = "github.com/envoyproxy/gateway";
/** What official builds of the release carry: a build without it names itself, and the image it starts beside Envoy, by no version. */
const LDFLAGS = `-s -w -X ${MODULE}/internal/cmd/version.envoyGatewayVersion=${ENVOY_GATEWAY_VERSION}`;
const OWN = { version: ENVOY_GATEWAY_VERSION, folder: `${MODULE}/cmd`, ldflags: LDFLAGS } as const;
/** The one that this Envoy Gateway is built with: they share most of what is compiled. */
const HELM_VERSION = "v3.21.4";

/** Where a program is. */
export interface EnvoyGatewayPaths {
  readonly bin: string;
}

/**
 * Envoy Gateway: AIBRIX_ENVOY_GATEWAY_BIN, else built with Go (about five minutes of one core the first time).
 * @throws PartError naming what is missing.
 */
export function ensureEnvoyGateway(context: PartContext): Promise<EnvoyGatewayPaths> {
  return ensureProgram({ name: "envoy-gateway", variable: "AIBRIX_ENVOY_GATEWAY_BIN", ...OWN }, context);
}

/**
 * egctl, which translates manifests as Envoy Gateway does, without a cluster: AIBRIX_EGCTL_BIN, else built with Go (some seconds more
 * where Envoy Gateway was built before, else as long).
 * @throws PartError naming what is missing.
 */
export function ensureEgctl(context: PartContext): Promise<EnvoyGatewayPaths> {
  return ensureProgram({ name: "egctl", variable: "AIBRIX_EGCTL_BIN", ...OWN }, context);
}

/**
 * helm, which renders Envoy Gateway's chart: AIBRIX_HELM_BIN, else built with Go (some seconds more where Envoy Gateway was built before,
 * else some minutes).
 * @throws PartError naming what is missing.
 */
export function ensureHelm(context: PartContext): Promise<EnvoyGatewayPaths> {
  const helm = { name: "helm", variable: "AIBRIX_HELM_BIN", version: HELM_VERSION, folder: "helm.sh/helm/v3/cmd", ldflags: "-s -w" };
  return ensureProgram(helm, context);
}

interface Program {
  readonly name: string;
  /** Of the environment: chooses another one. */
  readonly variable: string;
  readonly version: string;
  /** Import path of the folder with its package. */
  readonly folder: string;
  readonly ldflags: string;
}

async function ensureProgram({ name, variable, version, folder, ldflags }: Program, context: PartContext): Promise<EnvoyGatewayPaths> {
  const chosen = await findByEnv(variable);
  if (chosen !== undefined) return { bin: chosen };
  const module = {
    what: `${name} ${version}`,
    // Beside `src` and `dist` alike.
    dir: fileURLToPath(new URL("../../envoy-gateway/", import.meta.url)),
    programs: { [name]: `${folder}/${name}` },
    ldflags,
    remedy: `Or set ${variable} to one of your own.`,
  };
  const dir = await ensureCached({ name, version, recipe: 1 }, context, (target) => buildGo(module, target, context));
  return { bin: join(dir, name) };
}
