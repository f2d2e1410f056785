import { BlockList, isIPv4, isIPv6 } from "node:net";

/**
 * Addresses that an artifactURL has no business with: this machine, its link, and what clouds tell a machine about itself, credentials
 * among it. Private networks (10/8 and so on) are not here: storage in the cluster has such addresses.
 */
const GUARDED = new BlockList();
GUARDED.addSubnet("0.0.0.0", 8, "ipv4"); // "this network": Linux connects to itself
GUARDED.addSubnet("127.0.0.0", 8, "ipv4");
GUARDED.addSubnet("169.254.0.0", 16, "ipv4"); // link-local: instance metadata of Amazon, Google, Azure; ECS and EKS credentials
GUARDED.addAddress("100.100.100.200", "ipv4"); // instance metadata of Alibaba Cloud
GUARDED.addAddress("168.63.129.16", "ipv4"); // Azure's platform address
GUARDED.addAddress("192.0.0.192", "ipv4"); // instance metadata of Oracle Cloud at Home
GUARDED.addSubnet("224.0.0.0", 4, "ipv4"); // multicast
GUARDED.addAddress("255.255.255.255", "ipv4");
GUARDED.addAddress("::", "ipv6");
GUARDED.addAddress("::1", "ipv6");
GUARDED.addSubnet("fe80::", 10, "ipv6");
GUARDED.addSubnet("ff00::", 8, "ipv6");
GUARDED.addSubnet("64:ff9b:1::", 48, "ipv6"); // NAT64 of the local network (RFC 8215): where in it an IPv4 address is, only its operator knows
GUARDED.addAddress("fd00:ec2::254", "ipv6"); // instance metadata of Amazon
GUARDED.addAddress("fd00:ec2::23", "ipv6"); // credentials of EKS pods
GUARDED.addAddress("fd20:ce::254", "ipv6"); // instance metadata of Google

/** Names that mean a guarded address to whoever resolves them; needed where a proxy does that. */
const GUARDED_NAME =
  /^(localhost|.*\.localhost|localhost\.localdomain|ip6-localhost|ip6-loopback|metadata\.google\.internal|metadata\.goog|metadata)$/;

/** IPv6 prefixes whose last 32 bits are an IPv4 address: mapped, compatible (both RFC 4291), NAT64 (RFC 6052). */
const EMBEDDING = ["0:0:0:0:0:ffff:", "0:0:0:0:0:0:", "64:ff9b:0:0:0:0:"] as const;

/** Whether an address is one that only the operator may allow. */
export function isGuardedAddress(address: string): boolean {
  const plain = address.replace(/%.*$/, "");
  if (isIPv4(plain)) return GUARDED.check(plain, "ipv4");
  if (!isIPv6(plain)) return false;
  if (GUARDED.check(plain, "ipv6")) return true;
  const embedded = embeddedIPv4(plain);
  return embedded !== undefined && GUARDED.check(embedded, "ipv4");
}

/** Whether a host name is known to mean a guarded address. */
export function isGuardedName(name: string): boolean {
  return GUARDED_NAME.test(name.toLowerCase().replace(/\.$/, ""));
}

function embeddedIPv4(address: string): string | undefined {
  const groups = expanded(address);
  const text = `${groups.slice(0, 6).join(":")}:`;
  // 6to4 (RFC 3056) has it right after its own prefix.
  const pair = EMBEDDING.some((p) => p === text) ? groups.slice(6) : groups[0] === "2002" ? groups.slice(1, 3) : undefined;
  return pair
    ?.map((g) => Number.parseInt(g, 16))
    .flatMap((n) => [n >> 8, n & 255])
    .join(".");
}

/** The eight groups of an IPv6 address, without leading zeros. */
function expanded(address: string): readonly string[] {
  // The URL parser writes a dotted end as two groups, and shortens the rest.
  const text = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => "0"), ...right];
}
