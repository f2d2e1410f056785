import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ENVOY_GATEWAY_VERSION } from "../parts/gateway-charts.ts";
import type { PartContext } from "../parts/part-context.ts";
import { StackError } from "../stack/errors.ts";
import { type StateDir, writeFileAtomic } from "../stack/state-dir.ts";
import { deadline, until } from "../stack/time.ts";
import { renderDependency } from "./dependency.ts";
import type { Kubectl } from "./kubectl.ts";

const APPLY_MS = 120_000;
/** Mostly seconds; an API server with much to do gives up on a CRD and tries again ever later. */
const GONE_MS = 300_000;
const TOLD_MS = 120_000;
const LOOK_EVERY_MS = 250;
const [OURS, GATEWAY_API] = ["envoyproxies.gateway.envoyproxy.io", "gateways.gateway.networking.k8s.io"] as const;

/** What was applied is kept: it is what is deleted again from a cluster that exists. */
function manifestFile(dir: StateDir): string {
  return join(dir.cluster, "envoy-gateway.yaml");
}

/** Forgets what was applied to another cluster before. */
export function forgetEnvoyGateway(dir: StateDir): void {
  rmSync(manifestFile(dir), { force: true });
}

/**
 * Puts Envoy Gateway and the CRDs of the Gateway API into a cluster, as `deploy/dependency` does; one that is there is used as it is, and stays.
 *
 * @param imageRegistry - goes before the name of its image
 * @throws {@link StackError} where another implementation of the Gateway API has brought its CRDs
 */
export async function installEnvoyGateway(
  kubectl: Kubectl,
  dir: StateDir,
  imageRegistry: string | undefined,
  parts: PartContext,
  signal: AbortSignal,
): Promise<void> {
  const there = (await kubectl.run(["get", "crd", OURS, GATEWAY_API, "--ignore-not-found", "-o", "name"], signal)).split("\n");
  if (there.some((name) => name.endsWith(OURS))) {
    parts.log("the cluster has Envoy Gateway: it is used as it is, and must have Lua switched on (docs/guides/install.md)");
    return;
  }
  if (there.some((name) => name.endsWith(GATEWAY_API)))
    throw new StackError(
      `The cluster has the Gateway API's CRDs of another implementation, and no Envoy Gateway: they are not overwritten.\nInstall Envoy Gateway ${ENVOY_GATEWAY_VERSION} beside it as docs/guides/install.md says, then start again.`,
    );
  const kustomize = (folder: string) => kubectl.run(["kustomize", folder], signal);
  writeFileAtomic(manifestFile(dir), await renderDependency(kustomize, imageRegistry, dir.cluster, parts));
  await kubectl.run(["apply", "--server-side", "-f", manifestFile(dir)], signal, APPLY_MS);
  await kindsTold(kubectl, readFileSync(manifestFile(dir), "utf8"), signal);
}

/** Waits until the API server tells of the kinds of all CRDs of a text, some moments after it has taken them: objects of others are refused. */
async function kindsTold(kubectl: Kubectl, manifests: string, signal: AbortSignal): Promise<void> {
  const crds = manifests
    .split(/^---$/m)
    .flatMap((text) => (/^kind: CustomResourceDefinition$/m.test(text) ? (/^ {2}name: (\S+)$/m.exec(text)?.[1] ?? []) : []));
  let missing: readonly string[] = crds;
  const areTold = async () => {
    const told = (await kubectl.run(["api-resources", "--output=name"], signal)).split("\n");
    missing = crds.filter((name) => !told.includes(name));
    return missing.length === 0;
  };
  if (await until(areTold, LOOK_EVERY_MS, deadline(TOLD_MS, signal))) return;
  signal.throwIfAborted();
  throw new StackError(
    `The API server does not tell of ${missing.join(", ")} ${TOLD_MS / 1000} s after it has taken them: see \`kubectl get crd\`, then start again.`,
  );
}

/** Deletes what {@link installEnvoyGateway} has applied; nothing where Envoy Gateway was there before. */
export async function uninstallEnvoyGateway(kubectl: Kubectl, dir: StateDir, signal: AbortSignal): Promise<void> {
  const file = manifestFile(dir);
  if (!existsSync(file)) return;
  const args = ["delete", "-f", file, "--ignore-not-found", "--wait", `--timeout=${GONE_MS / 1000}s`];
  await kubectl.run(args, signal, GONE_MS + 10_000);
  forgetEnvoyGateway(dir);
}
