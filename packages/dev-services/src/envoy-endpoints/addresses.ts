import type { Address } from "@aibrix/devcluster";
import type { EndpointSlice } from "@aibrix/kube";

/**
 * Every address of a ready endpoint, at every port of its slice, each once and in a fixed order. Pure.
 * An endpoint that does not say whether it is ready counts as ready, as Kubernetes has it; names (FQDN slices) are no addresses.
 */
export function engineAddresses(slices: Iterable<EndpointSlice>): readonly Address[] {
  const found = new Map<string, Address>();
  for (const { addressType, endpoints, ports } of slices) {
    if (addressType === "FQDN") continue;
    const tcp = (ports ?? []).flatMap(({ port, protocol = "TCP" }) => (port === undefined || protocol !== "TCP" ? [] : [port]));
    for (const { addresses, conditions } of endpoints ?? []) {
      if (conditions?.ready === false) continue;
      for (const host of addresses) for (const port of tcp) found.set(`${host} ${port}`, { host, port });
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, address]) => address);
}
