import { gpuPatch } from "../../cluster/gpus.ts";
import { sleep } from "../../stack/time.ts";
import { type ClientConfig, callApi } from "../api-client.ts";
import { NODE_NAME } from "./names.ts";

const LOOK_EVERY_MS = 1_000;

/**
 * Sees to it that the node's status offers the GPUs, until the signal aborts: a kubelet that starts again sets to zero what no plugin
 * offers. Never rejects.
 */
export async function keepGpus(admin: ClientConfig, signal: AbortSignal): Promise<void> {
  const url = `${admin.server}/api/v1/nodes/${NODE_NAME}`;
  do {
    try {
      const { status, text } = await callApi(url, admin, signal);
      const patch = status === 200 ? gpuPatch(JSON.parse(text)) : [];
      if (patch.length > 0) await callApi(`${url}/status`, admin, signal, patch);
    } catch {
      // The API server is not there at this moment.
    }
  } while (await sleep(LOOK_EVERY_MS, signal));
}
