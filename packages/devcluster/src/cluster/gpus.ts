import type { Kubectl } from "./kubectl.ts";

/** Manifests of base models ask for a GPU each; nothing on this machine uses one. */
const GPUS = "8";

/** kubectl's arguments that give a node GPUs in its status: the scheduler counts them as if a device plugin had told of them. Pure. */
export function gpuArgs(node: string): readonly string[] {
  const add = (list: string) => ({ op: "add", path: `/status/${list}/nvidia.com~1gpu`, value: GPUS });
  const patch = JSON.stringify([add("capacity"), add("allocatable")]);
  return ["patch", "node", node, "--subresource=status", "--type=json", "-p", patch];
}

export async function giveGpus(kubectl: Kubectl, nodes: readonly string[], signal: AbortSignal): Promise<void> {
  for (const node of nodes) await kubectl.run(gpuArgs(node), signal);
}
