/** Two addresses that nobody else on this machine uses: the ends of the cable between host and node. */
export interface NodeSubnet {
  readonly host: string;
  /** Where API server, registry and NodePorts are reached from the host. */
  readonly node: string;
  readonly prefix: number;
}

/** Services' addresses; {@link DNS_ADDRESS} and {@link API_ADDRESS} are two of them. */
export const SERVICE_RANGE = "10.96.0.0/16";
export const API_ADDRESS = "10.96.0.1";
export const DNS_ADDRESS = "10.96.0.10";
/** Pods' addresses. They and the services' are known inside the node alone. */
export const POD_RANGE = "10.244.0.0/16";
export const NODE_POD_RANGE = "10.244.0.0/24";

const BASE = toNumber("10.213.0.0");
const PREFIX = 30;
const BLOCK = 4;
const BLOCKS = 65_536 / BLOCK;

/**
 * The first free /30 in 10.213.0.0/16, searched from a place that the node's id decides: so a node keeps its addresses, and two that start
 * at the same moment do not choose the same. Pure.
 *
 * @param id - hexadecimal digits
 * @param taken - networks in use, as `10.0.0.1/8`
 * @returns undefined where none is free
 */
export function chooseSubnet(id: string, taken: readonly string[]): NodeSubnet | undefined {
  const ranges = taken.map(rangeOf).filter((r) => r !== undefined);
  const start = Number.parseInt(id, 16) % BLOCKS;
  for (let i = 0; i < BLOCKS; i += 1) {
    const first = BASE + ((start + i) % BLOCKS) * BLOCK;
    if (ranges.some((r) => first <= r.last && first + BLOCK - 1 >= r.first)) continue;
    return { host: toText(first + 1), node: toText(first + 2), prefix: PREFIX };
  }
  return undefined;
}

/** Of a network wider than a /16 the address alone counts: the node's narrower route comes first, and else such a machine had no room. */
function rangeOf(cidr: string): { readonly first: number; readonly last: number } | undefined {
  const [address = "", bits] = cidr.split("/");
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(address)) return undefined;
  const prefix = Number(bits ?? 32);
  const size = 2 ** (32 - (prefix < 16 ? 32 : prefix));
  const first = Math.floor(toNumber(address) / size) * size;
  return { first, last: first + size - 1 };
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toText(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}
