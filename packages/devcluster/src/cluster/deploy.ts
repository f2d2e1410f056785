import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { StackError } from "../stack/errors.ts";
import { WORKSPACE } from "../stack/paths.ts";
import { type StateDir, writeFileAtomic } from "../stack/state-dir.ts";
import { forgetEnvoyGateway, uninstallEnvoyGateway } from "./envoy-gateway.ts";
import type { Kubectl } from "./kubectl.ts";
import { type Manifests, readManifests } from "./manifests.ts";
import { fullName, type Meta } from "./objects.ts";
import { PLATFORM_NAMESPACES } from "./platform.ts";

const OVERLAY = join(WORKSPACE, "deploy/overlays/dev");
const APPLY_MS = 120_000;
/** Their pods and engines may be gone already; the controller ends a deletion by itself then. */
const ADAPTERS_GONE_MS = 60_000;
const MANIFESTS_GONE_MS = 120_000;

const CRD = "modeladapters.model.aibrix.ai";

/** What was applied is kept: it is what `undeploy` deletes, whatever the checkout holds by then. */
function manifestsFile(dir: StateDir): string {
  return join(dir.cluster, "manifests.yaml");
}

/** Forgets what was applied to another cluster before. */
export function forgetManifests(dir: StateDir): void {
  forgetEnvoyGateway(dir);
  rmSync(manifestsFile(dir), { force: true });
}

/** Applies the dev overlay, for the Envoy Gateway that is in the cluster. */
export async function deploy(kubectl: Kubectl, dir: StateDir, imageRegistry: string | undefined, signal: AbortSignal): Promise<Manifests> {
  const manifests = readManifests(await kubectl.run(["kustomize", OVERLAY], signal), imageRegistry);
  writeFileAtomic(manifestsFile(dir), manifests.text);
  await kubectl.run(["apply", "--server-side", "-f", manifestsFile(dir)], signal, APPLY_MS);
  return manifests;
}

/**
 * Deletes what {@link deploy} has applied: ModelAdapters first, while the controller is there to see to their finalizers, then the manifests,
 * last Envoy Gateway where it was put there for them.
 * @param adaptersMs - how long the ModelAdapters may take
 * @throws {@link StackError} with what is left and how to take it away
 */
export async function undeploy(kubectl: Kubectl, dir: StateDir, signal: AbortSignal, adaptersMs: number = ADAPTERS_GONE_MS): Promise<void> {
  // Nothing was applied, or Envoy Gateway alone.
  if (!existsSync(manifestsFile(dir))) return uninstallEnvoyGateway(kubectl, dir, signal);
  const typed = `kubectl --kubeconfig ${kubectl.kubeconfig}`;
  if ((await kubectl.run(["get", "crd", CRD, "--ignore-not-found", "-o", "name"], signal)).trim() !== "") {
    try {
      const args = ["delete", "modeladapters", "-A", "--all", "--wait", `--timeout=${adaptersMs / 1000}s`];
      await kubectl.run(args, signal, adaptersMs + 10_000);
    } catch (error) {
      signal.throwIfAborted();
      const left = await kubectl.list<{ metadata: Meta }>(["modeladapters", "-A"], signal).catch(() => []);
      throw new StackError(
        `${left.length === 0 ? "The ModelAdapters" : left.map((a) => fullName(a.metadata)).join(", ")} cannot be deleted: ${(error as Error).message}\nThe controller removes their finalizers; see what it says with: ${typed} -n aibrix-system logs deployment/aibrix-controller-manager\nThen stop again.`,
      );
    }
  }
  const args = ["delete", "-f", manifestsFile(dir), "--ignore-not-found", "--wait", `--timeout=${MANIFESTS_GONE_MS / 1000}s`];
  await kubectl.run(args, signal, MANIFESTS_GONE_MS + 10_000);
  await uninstallEnvoyGateway(kubectl, dir, signal);
  forgetManifests(dir);
}

/**
 * A platform that somebody else has put into a cluster is not overwritten, and so never deleted.
 * @throws {@link StackError} where there is one
 */
export async function refuseForeignPlatform(kubectl: Kubectl, signal: AbortSignal): Promise<void> {
  const get = (kind: string, names: readonly string[]) => kubectl.run(["get", kind, ...names, "--ignore-not-found", "-o", "name"], signal);
  const found = `${await get("crd", [CRD])}${await get("namespace", PLATFORM_NAMESPACES)}`.split("\n").filter(Boolean);
  if (found.length === 0) return;
  throw new StackError(
    `The cluster has ${found.join(", ")} already: a platform that was not started from this state folder is not touched.\nUse another cluster; or, where it may go, end it first with npm run stop in the folder that started it, or delete the ModelAdapters and then these objects with kubectl.`,
  );
}
