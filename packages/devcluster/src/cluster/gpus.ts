import type { Kubectl } from "./kubectl.ts";

/** Manifests of base models ask for a GPU each; nothing on this machine uses one. So many are enough for every sample. */
const GPUS = "8";
const RESOURCE = "nvidia.com/gpu";

interface NodeStatus {
  readonly status?: { readonly capacity?: Record<string, string>; readonly allocatable?: Record<string, string> };
}

/**
 * What has to be changed in a node so that it offers the GPUs, as if a device plugin had told of them: a JSON patch of its status, empty
 * where it offers them, or where it has told no status yet. Pure.
 */
export function gpuPatch({ status = {} }: NodeStatus): readonly object[] {
  const path = RESOURCE.replace("/", "~1");
  return (["capacity", "allocatable"] as const)
    .filter((field) => status[field] !== undefined && status[field][RESOURCE] !== GPUS)
    .map((field) => ({ op: "add", path: `/status/${field}/${path}`, value: GPUS }));
}

/** kubectl's arguments that give a node the GPUs. Pure. */
export function gpuArgs(node: string): readonly string[] {
  const patch = JSON.stringify(gpuPatch({ status: { capacity: {}, allocatable: {} } }));
  return ["patch", "node", node, "--subresource=status", "--type=json", "-p", patch];
}

export async function giveGpus(kubectl: Kubectl, nodes: readonly string[], signal: AbortSignal): Promise<void> {
  for (const node of nodes) await kubectl.run(gpuArgs(node), signal);
}
