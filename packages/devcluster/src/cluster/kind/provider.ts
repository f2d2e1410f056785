import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { readKubeconfig } from "../../kubernetes/read-kubeconfig.ts";
import { withProgress } from "../../parts/progress.ts";
import { run } from "../../parts/run.ts";
import { StackError } from "../../stack/errors.ts";
import { freePorts } from "../../stack/ports.ts";
import { untilAnswers } from "../../stack/probe.ts";
import { type StateDir, writeFileAtomic } from "../../stack/state-dir.ts";
import { deadline } from "../../stack/time.ts";
import { keepAddresses } from "../addresses.ts";
import { findKubectl } from "../find-kubectl.ts";
import { giveGpus } from "../gpus.ts";
import { Kubectl } from "../kubectl.ts";
import { innerAddress, type Node } from "../objects.ts";
import type { ClusterDeps, ClusterHandle, ClusterProvider } from "../provider.ts";
import {
  createCluster,
  deleteCluster,
  findRegistry,
  type KindInput,
  kindConfig,
  listNodes,
  mirror,
  removeRegistry,
  runRegistry,
} from "./plan.ts";

const CREATE_MS = 600_000;
const REGISTRY_MS = 60_000;
const REMOVE_MS = 120_000;

/** A cluster of kind, with a registry beside it. Docker keeps both running: the supervisor has no part of it. */
export class KindCluster implements ClusterProvider {
  readonly kind = "kind";

  async start({ dir, parts }: ClusterDeps, signal: AbortSignal): Promise<ClusterHandle> {
    const program = await findKubectl(parts);
    const [gatewayPort = 0, registryPort = 0] = await freePorts(2);
    const input: KindInput = { name: nameOf(dir), kubeconfig: kubeconfigOf(dir), gatewayPort, registryPort };
    const configFile = join(dir.cluster, "kind.yaml");
    writeFileAtomic(configFile, kindConfig(input));
    await withProgress("kind creates a cluster", { ...parts, signal }, () =>
      run({ argv: createCluster(input, configFile), timeoutMs: CREATE_MS }, signal),
    );
    await run({ argv: runRegistry(input), timeoutMs: CREATE_MS }, signal);
    const nodes = (await run({ argv: listNodes(input.name) }, signal)).split("\n").filter(Boolean);
    for (const node of nodes) await run({ argv: mirror(input.name, node) }, signal);
    const kubectl = new Kubectl({ kind: this.kind, kubectl: program, kubeconfig: input.kubeconfig });
    await giveGpus(kubectl, nodes, signal);
    const address = innerAddress(await kubectl.list<Node>(["nodes"], signal));
    if (address === undefined) throw new StackError("The node of kind has no address: see kubectl get nodes -o wide.");
    // Lives as long as the supervisor: a Service's address stays when it ends.
    void keepAddresses(readKubeconfig(await readFile(input.kubeconfig, "utf8")), address, signal);
    const registry = `http://127.0.0.1:${registryPort}`;
    await untilAnswers(`${registry}/v2/`, false, deadline(REGISTRY_MS, signal));
    return { kind: this.kind, kubeconfig: input.kubeconfig, kubectl: program, registry, gatewayHost: "127.0.0.1", gatewayPort };
  }

  async remove(dir: StateDir, signal: AbortSignal): Promise<void> {
    const name = nameOf(dir);
    await run({ argv: deleteCluster(name, kubeconfigOf(dir)), timeoutMs: REMOVE_MS }, signal);
    if ((await run({ argv: findRegistry(name) }, signal)).trim() !== "")
      await run({ argv: removeRegistry(name), timeoutMs: REMOVE_MS }, signal);
    await rm(kubeconfigOf(dir), { force: true });
  }
}

/** One cluster for a state folder, so that several of them do not meet. */
function nameOf(dir: StateDir): string {
  return `aibrix-${createHash("sha256").update(dir.root).digest("hex").slice(0, 8)}`;
}

function kubeconfigOf(dir: StateDir): string {
  return join(dir.cluster, "kubeconfig");
}
