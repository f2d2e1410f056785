import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { PartError } from "../parts/part-context.ts";
import { StackError } from "../stack/errors.ts";
import { readJson, type StateDir, writeFileAtomic, writeJsonAtomic } from "../stack/state-dir.ts";
import { forgetManifests, refuseForeignPlatform, undeploy } from "./deploy.ts";
import { findKubectl } from "./find-kubectl.ts";
import { Kubectl } from "./kubectl.ts";
import { conditionOf, type Node } from "./objects.ts";
import type { ClusterDeps, ClusterHandle, ClusterProvider } from "./provider.ts";

const ANSWER_MS = 15_000;
const PRINT = ["config", "view", "--minify", "--flatten", "--raw"];

/** A cluster that exists: nothing of it is started or ended, and what was deployed is deleted. */
export class ExistingCluster implements ClusterProvider {
  readonly kind = "kubeconfig";
  readonly #file: string | undefined;

  /** @param file - the user's kubeconfig; needed to start, not to remove */
  constructor(file?: string) {
    this.#file = file;
  }

  async start({ dir, parts, say }: ClusterDeps, signal: AbortSignal): Promise<ClusterHandle> {
    if (this.#file === undefined) throw new Error("a cluster that exists needs its kubeconfig");
    forgetManifests(dir);
    const program = await findKubectl(parts);
    const user = new Kubectl({ kind: this.kind, kubectl: program, kubeconfig: this.#file });
    const { kubeconfig, program: programFile } = files(dir);
    // A copy of the current context alone: whatever the user switches to later, what was deployed here is deleted here.
    writeFileAtomic(kubeconfig, await user.run(PRINT, signal));
    writeJsonAtomic(programFile, { kubectl: program });
    const kubectl = new Kubectl({ kind: this.kind, kubectl: program, kubeconfig });
    await requireAnswer(kubectl, this.#file, signal);
    await refuseForeignPlatform(kubectl, signal);
    const gatewayHost = nodeAddress(await kubectl.list<Node>(["nodes"], signal));
    if (gatewayHost === undefined) throw new StackError("The cluster has no node that is Ready: see kubectl get nodes.");
    say(`the cluster of ${this.#file} answers; its nodes are expected at ${gatewayHost}`);
    return { kind: this.kind, kubeconfig, kubectl: program, registry: undefined, gatewayHost };
  }

  async remove(dir: StateDir, signal: AbortSignal): Promise<void> {
    const { kubeconfig, program } = files(dir);
    const known = readJson(program) as { readonly kubectl?: string } | undefined;
    if (known?.kubectl !== undefined && existsSync(kubeconfig))
      await undeploy(new Kubectl({ kind: this.kind, kubectl: known.kubectl, kubeconfig }), dir, signal);
    for (const file of [kubeconfig, program]) await rm(file, { force: true });
  }
}

function files(dir: StateDir): { readonly kubeconfig: string; readonly program: string } {
  return { kubeconfig: join(dir.cluster, "kubeconfig"), program: join(dir.cluster, "kubectl.json") };
}

async function requireAnswer(kubectl: Kubectl, file: string, signal: AbortSignal): Promise<void> {
  try {
    await kubectl.run(["get", "--raw", "/readyz", `--request-timeout=${ANSWER_MS / 1000}s`], signal, ANSWER_MS + 5_000);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof PartError)) throw error;
    throw new StackError(`The cluster of ${file} does not answer: ${error.message}\nTry it with: kubectl --kubeconfig ${file} get nodes`);
  }
}

/** Where NodePorts are reached: a Ready node's address, an outer one before an inner one. Pure. */
export function nodeAddress(nodes: readonly Node[]): string | undefined {
  const ready = nodes.filter((n) => conditionOf(n.status?.conditions, "Ready")?.status === "True");
  const addresses = ready.flatMap((n) => n.status?.addresses ?? []);
  const found = addresses.find((a) => a.type === "ExternalIP") ?? addresses.find((a) => a.type === "InternalIP");
  if (found === undefined) return undefined;
  return found.address.includes(":") ? `[${found.address}]` : found.address;
}
