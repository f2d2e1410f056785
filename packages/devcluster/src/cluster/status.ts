import type { KubernetesFile } from "../stack/stack-file.ts";
import { Kubectl } from "./kubectl.ts";
import { conditionOf, type ModelAdapterObject, type Node, type Pod } from "./objects.ts";
import { PLATFORM_NAMESPACES } from "./platform.ts";
import { type PodProblem, podProblem } from "./pod-problem.ts";

export interface NodeReport {
  readonly name: string;
  readonly ready: boolean;
  readonly message: string;
}

export interface AdapterReport {
  readonly namespace: string;
  readonly name: string;
  readonly phase: string;
  /** Of its condition `Ready`. */
  readonly reason: string;
  readonly message: string;
}

/** What `status` shows of a cluster. */
export interface ClusterReport {
  readonly nodes: readonly NodeReport[];
  /** The platform's own pods that are not Ready. */
  readonly pods: readonly PodProblem[];
  readonly adapters: readonly AdapterReport[];
  /** Why the cluster cannot be asked. */
  readonly problem?: string;
}

const ASK_MS = 8_000;

/** Asks the cluster; one that does not answer is an answer too. */
export async function clusterReport(
  at: Pick<KubernetesFile, "kubectl" | "kubeconfig" | "cluster">,
  signal: AbortSignal,
): Promise<ClusterReport> {
  const kubectl = new Kubectl({ ...at, kind: at.cluster });
  try {
    const [nodes, pods, adapters] = await Promise.all([
      kubectl.list<Node>(["nodes"], signal, ASK_MS),
      kubectl.list<Pod>(["pods", "-A"], signal, ASK_MS),
      kubectl.list<ModelAdapterObject>(["modeladapters", "-A"], signal, ASK_MS),
    ]);
    return {
      nodes: nodes.map(nodeReport),
      pods: pods
        .filter((p) => PLATFORM_NAMESPACES.includes(p.metadata.namespace ?? ""))
        .map(podProblem)
        .filter((p) => p !== undefined),
      adapters: adapters.map(adapterReport),
    };
  } catch (error) {
    return { nodes: [], pods: [], adapters: [], problem: (error as Error).message };
  }
}

/** Whether the platform works as far as Kubernetes can tell. A failed adapter does not count: the others are served. */
export function isHealthy({ nodes, pods, problem }: ClusterReport): boolean {
  return problem === undefined && pods.length === 0 && nodes.every((n) => n.ready);
}

function nodeReport({ metadata, status }: Node): NodeReport {
  const ready = conditionOf(status?.conditions, "Ready");
  return { name: metadata.name, ready: ready?.status === "True", message: ready?.status === "True" ? "" : (ready?.message ?? "") };
}

/** What is said of an adapter in a line: of one that serves, why it is not what was declared last. */
export function adapterReport({ metadata, status }: ModelAdapterObject): AdapterReport {
  const ready = conditionOf(status?.conditions, "Ready") ?? status?.conditions?.at(-1);
  const updated = conditionOf(status?.conditions, "Updated");
  const told = ready?.status === "True" && updated?.status === "False" ? updated : ready;
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    phase: status?.phase ?? "Pending",
    reason: told?.reason ?? "",
    message: told?.message ?? "the controller has not seen it yet",
  };
}
