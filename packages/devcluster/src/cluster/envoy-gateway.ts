import { join } from "node:path";
import { ensureGatewayCrds } from "../parts/gateway-crds.ts";
import type { PartContext } from "../parts/part-context.ts";
import { type StateDir, writeJsonAtomic } from "../stack/state-dir.ts";
import { envoyGatewayManifest } from "./envoy-gateway-manifest.ts";
import type { Kubectl } from "./kubectl.ts";

const APPLY_MS = 120_000;

/** Puts Envoy Gateway and the CRDs of the Gateway API into a cluster of this machine. It goes with the cluster. */
export async function installEnvoyGateway(kubectl: Kubectl, dir: StateDir, parts: PartContext, signal: AbortSignal): Promise<void> {
  const crds = await ensureGatewayCrds(parts);
  const apply = ["apply", "--server-side"];
  await kubectl.run([...apply, "-f", join(crds, "gatewayapi-crds.yaml"), "-f", join(crds, "generated")], signal, APPLY_MS);
  const file = join(dir.cluster, "envoy-gateway.json");
  writeJsonAtomic(file, envoyGatewayManifest());
  await kubectl.run([...apply, "-f", file], signal, APPLY_MS);
}
