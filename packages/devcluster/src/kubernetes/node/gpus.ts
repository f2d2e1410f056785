import { sleep } from "../../stack/time.ts";
import { type ClientConfig, callApi } from "../api-client.ts";
import { NODE_NAME } from "./names.ts";

/** What the scheduler is told: enough for every sample, on a machine that has none. */
export const GPUS = "8";
const RESOURCE = "nvidia.com/gpu";
const LOOK_EVERY_MS = 1_000;

interface NodeStatus {
  readonly status?: { readonly capacity?: Record<string, string>; readonly allocatable?: Record<string, string> };
}

/** What has to be changed in a node so that it offers the GPUs; empty where it does. Pure. */
export function gpuPatch({ status = {} }: NodeStatus): readonly object[] {
  const path = RESOURCE.replace("/", "~1");
  return (["capacity", "allocatable"] as const)
    .filter((field) => status[field] !== undefined && status[field][RESOURCE] !== GPUS)
    .map((field) => ({ op: "add", path: `/status/${field}/${path}`, value: GPUS }));
}

/**
 * Sees to it that the node's status offers the GPUs, until the signal aborts: a kubelet that starts again sets to zero what no plugin
 * offers. Never rejects.
 */
export async function keepGpus(admin: ClientConfig, signal: AbortSignal): Promise<void> {
  const url = `${admin.server}/api/v1/nodes/${NODE_NAME}`;
  do {
    try {
      const { status, text } = await callApi(url, admin, signal);
      const patch = status === 200 ? gpuPatch(JSON.parse(text) as NodeStatus) : [];
      if (patch.length > 0) await callApi(`${url}/status`, admin, signal, patch);
    } catch {
      // The API server is not there at this moment.
    }
  } while (await sleep(LOOK_EVERY_MS, signal));
}
