import { deadline, until } from "../stack/time.ts";
import type { Kubectl } from "./kubectl.ts";
import { GATEWAY_ENVOY, GATEWAY_PORT } from "./platform.ts";
import type { ClusterHandle } from "./provider.ts";

/** What of a Service of type LoadBalancer says where it is reached. */
export interface LoadBalancer {
  readonly spec: { readonly ports: readonly { readonly port: number; readonly nodePort?: number }[] };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[] } };
}

/** A load balancer that has given no address so long is taken for none. */
const ADDRESS_MS = 60_000;
const EVERY_MS = 1_000;

/** The address that a load balancer has given a Service, as `http://…`; undefined where there is none. Pure. */
export function balancerUrl({ spec, status }: LoadBalancer): string | undefined {
  const [first] = status?.loadBalancer?.ingress ?? [];
  const host = first?.ip ?? first?.hostname;
  const port = spec.ports[0]?.port ?? GATEWAY_PORT;
  return host === undefined ? undefined : urlOf(host, port);
}

/** A Service's NodePort at a host, as `http://…`; undefined where it has none. Pure. */
export function nodePortUrl({ spec }: LoadBalancer, host: string): string | undefined {
  const port = spec.ports[0]?.nodePort;
  return port === undefined ? undefined : urlOf(host, port);
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
}

/**
 * Where this machine reaches the gateway: as the provider says, else by the address that the cluster's load balancer gives the Gateway's
 * Service, or by its NodePort where none comes within a minute; the Gateway is not Programmed then.
 */
export async function gatewayUrl(
  kubectl: Kubectl,
  { gatewayHost, gatewayPort }: ClusterHandle,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<string> {
  if (gatewayPort !== undefined) return urlOf(gatewayHost, gatewayPort);
  const { namespace, name } = GATEWAY_ENVOY;
  const read = async () => JSON.parse(await kubectl.run(["get", "service", name, "-n", namespace, "-o", "json"], signal)) as LoadBalancer;
  let found: string | undefined;
  await until(
    async () => {
      found = balancerUrl(await read());
      return found !== undefined;
    },
    EVERY_MS,
    deadline(ADDRESS_MS, signal),
  );
  signal.throwIfAborted();
  if (found !== undefined) return found;
  say(`nothing in the cluster gives Services of type LoadBalancer an address: the gateway is used by its NodePort at ${gatewayHost}`);
  return nodePortUrl(await read(), gatewayHost) ?? urlOf(gatewayHost, GATEWAY_PORT);
}
