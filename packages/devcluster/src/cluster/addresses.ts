import { type ClientConfig, callApi } from "../kubernetes/api-client.ts";
import { sleep } from "../stack/time.ts";

const LOOK_EVERY_MS = 500;

interface Service {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: { readonly type?: string };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
}

/** The JSON patch of its status that gives a Service of type LoadBalancer an address; empty where none is needed. Pure. */
export function addressPatch({ spec, status }: Pick<Service, "spec" | "status">, address: string): readonly object[] {
  if (spec.type !== "LoadBalancer" || status?.loadBalancer?.ingress?.some(({ ip }) => ip === address)) return [];
  return [{ op: "add", path: "/status/loadBalancer", value: { ingress: [{ ip: address, ipMode: "VIP" }] } }];
}

/**
 * The load balancer of a cluster of one node: Services of type LoadBalancer get the node's own address, at which kube-proxy then takes their
 * ports, until the signal aborts. Of two with the same port kube-proxy serves one. Never rejects.
 */
export async function keepAddresses(admin: ClientConfig, address: string, signal: AbortSignal): Promise<void> {
  do {
    try {
      const { status, text } = await callApi(`${admin.server}/api/v1/services`, admin, signal);
      for (const service of status === 200 ? (JSON.parse(text).items as readonly Service[]) : []) {
        const patch = addressPatch(service, address);
        const { namespace, name } = service.metadata;
        if (patch.length > 0) await callApi(`${admin.server}/api/v1/namespaces/${namespace}/services/${name}/status`, admin, signal, patch);
      }
    } catch {
      // The API server is not there at this moment.
    }
  } while (await sleep(LOOK_EVERY_MS, signal));
}
