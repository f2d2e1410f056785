import { findOnPath } from "../parts/find.ts";
import { ask } from "../parts/run.ts";
import type { ClusterOptions } from "../stack/cluster-options.ts";
import { UsageError } from "../stack/errors.ts";
import type { ClusterKind } from "./provider.ts";

/** What decides which clusters this machine can have. */
export interface Machine {
  readonly linux: boolean;
  readonly root: boolean;
  /** A Docker engine answers; a client alone is none. */
  readonly docker: boolean;
  /** `kind` is on PATH. */
  readonly kind: boolean;
}

const DOCKER_MS = 10_000;

export async function lookAtMachine(signal: AbortSignal): Promise<Machine> {
  const [server, kind] = await Promise.all([
    ask(["docker", "version", "--format", "{{.Server.Version}}"], signal, DOCKER_MS),
    findOnPath("kind"),
  ]);
  return { linux: process.platform === "linux", root: process.getuid?.() === 0, docker: server !== undefined, kind: kind !== undefined };
}

/**
 * Which cluster is used. Pure.
 * @throws {@link UsageError} that says what is missing
 */
export function chooseCluster(wanted: Pick<ClusterOptions, "cluster" | "kubeconfig">, machine: Machine): ClusterKind {
  if (wanted.kubeconfig !== undefined) return "kubeconfig";
  const missing = { node: missingForNode(machine), kind: missingForKind(machine) };
  if (wanted.cluster !== undefined) {
    const why = missing[wanted.cluster];
    if (why === undefined) return wanted.cluster;
    throw new UsageError(`--cluster ${wanted.cluster} cannot be started here: ${why}`);
  }
  if (missing.kind === undefined) return "kind";
  if (missing.node === undefined) return "node";
  throw new UsageError(
    `No Kubernetes cluster can be started here.\nA cluster of kind: ${missing.kind}\nA node of its own: ${missing.node}\nA cluster that exists can be used with --kubeconfig FILE.`,
  );
}

function missingForNode({ linux, root }: Machine): string | undefined {
  if (!linux) return "it needs Linux";
  return root ? undefined : "it needs root, for namespaces, mounts and cgroups: start again as root";
}

function missingForKind({ docker, kind }: Machine): string | undefined {
  const missing = [
    ...(docker ? [] : ["a Docker engine that answers (docker version)"]),
    ...(kind ? [] : ["the program kind on PATH, 0.27 or newer"]),
  ];
  return missing.length === 0 ? undefined : `it needs ${missing.join(" and ")}`;
}
