import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureCached } from "./cache.ts";
import { findByEnv } from "./find.ts";
import { ENVOY_GATEWAY_VERSION } from "./gateway-crds.ts";
import { buildGo } from "./go-build.ts";
import type { PartContext } from "./part-context.ts";

const MODULE = "github.com/envoyproxy/gateway";
/** What official builds of the release carry: a build without it names itself, and the image it starts beside Envoy, by no version. */
const LDFLAGS = `-s -w -X ${MODULE}/internal/cmd/version.envoyGatewayVersion=${ENVOY_GATEWAY_VERSION}`;

/** Where a program of Envoy Gateway is. */
export interface EnvoyGatewayPaths {
  readonly bin: string;
}

/**
 * Envoy Gateway: AIBRIX_ENVOY_GATEWAY_BIN, else built with Go (about five minutes of one core the first time).
 * @throws PartError naming what is missing.
 */
export function ensureEnvoyGateway(context: PartContext): Promise<EnvoyGatewayPaths> {
  return ensureProgram("envoy-gateway", "AIBRIX_ENVOY_GATEWAY_BIN", context);
}

/**
 * egctl, which translates manifests as Envoy Gateway does, without a cluster: AIBRIX_EGCTL_BIN, else built with Go (some seconds more
 * where Envoy Gateway was built before, else as long).
 * @throws PartError naming what is missing.
 */
export function ensureEgctl(context: PartContext): Promise<EnvoyGatewayPaths> {
  return ensureProgram("egctl", "AIBRIX_EGCTL_BIN", context);
}

async function ensureProgram(name: string, variable: string, context: PartContext): Promise<EnvoyGatewayPaths> {
  const chosen = await findByEnv(variable);
  if (chosen !== undefined) return { bin: chosen };
  const module = {
    what: `${name} ${ENVOY_GATEWAY_VERSION}`,
    // Beside `src` and `dist` alike.
    dir: fileURLToPath(new URL("../../envoy-gateway/", import.meta.url)),
    programs: { [name]: `${MODULE}/cmd/${name}` },
    ldflags: LDFLAGS,
    remedy: `Or set ${variable} to one of your own.`,
  };
  const dir = await ensureCached({ name, version: ENVOY_GATEWAY_VERSION, recipe: 1 }, context, (target) =>
    buildGo(module, target, context),
  );
  return { bin: join(dir, name) };
}
