import { BlockList, isIP } from "node:net";
import { HOST_PATTERN, hostMatches } from "@aibrix/api";

/** Hosts and networks that the operator lets artifacts come from, besides all that is not guarded. */
export interface AllowedHosts {
  /** Entries of `--allow-artifact-hosts` that are names or addresses. */
  readonly hosts: readonly string[];
  readonly networks: BlockList;
}

/** A network in CIDR notation, IPv6 with or without brackets. */
const NETWORK = /^\[?([0-9a-fA-F.:]+)\]?\/([0-9]{1,3})$/;

/**
 * Reads `--allow-artifact-hosts`: names, `*.suffix`, addresses, or networks (`10.0.0.0/8`), separated by commas; `*` for everything.
 *
 * @returns what is allowed, or the entry that cannot be read
 */
export function readAllowedHosts(list: string): AllowedHosts | { readonly bad: string } {
  const hosts: string[] = [];
  const networks = new BlockList();
  for (const entry of list
    .split(",")
    .map((e) => e.trim())
    .filter((e) => e !== "")) {
    const [, address = "", bits = ""] = NETWORK.exec(entry) ?? [];
    const family = isIP(address);
    if (family !== 0 && Number(bits) <= (family === 4 ? 32 : 128))
      networks.addSubnet(address, Number(bits), family === 4 ? "ipv4" : "ipv6");
    else if (isIP(entry) === 6) hosts.push(`[${entry}]`);
    else if (entry === "*" || new RegExp(HOST_PATTERN).test(entry)) hosts.push(entry);
    else return { bad: entry };
  }
  return { hosts, networks };
}

/**
 * Variables of the environment that name endpoints: what the operator wrote there is allowed. Where the SDK fetches credentials from
 * (`AWS_CONTAINER_CREDENTIALS_FULL_URI`) is none of them: it asks there by itself, and no artifact comes from there.
 */
const ENDPOINTS = /^(HF_ENDPOINT|AWS_ENDPOINT_URL(_[A-Z0-9_]+)?|STORAGE_EMULATOR_HOST|HTTPS?_PROXY|https?_proxy)$/;

/** The hosts of the operator's own endpoints, with their ports. */
export function endpointHosts(env: NodeJS.ProcessEnv): readonly string[] {
  return Object.entries(env).flatMap(([name, value]) => {
    if (value === undefined || value === "" || !ENDPOINTS.test(name)) return [];
    const url = endpointUrl(value);
    return url === undefined ? [] : [`${url.hostname}:${url.port || (url.protocol === "http:" ? "80" : "443")}`];
  });
}

/** `STORAGE_EMULATOR_HOST` is written without a scheme, too. */
export function endpointUrl(value: string): URL | undefined {
  const text = /^https?:\/\//.test(value) ? value : `http://${value}`;
  return URL.canParse(text) ? new URL(text) : undefined;
}

export function isAllowedHost({ hosts }: Pick<AllowedHosts, "hosts">, url: URL): boolean {
  return hosts.some((entry) => entry === "*" || hostMatches(entry, url));
}

export function isAllowedAddress({ networks }: AllowedHosts, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && networks.check(address, family === 4 ? "ipv4" : "ipv6");
}
