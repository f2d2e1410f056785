/** One entry of a list of hosts: a name, `*.` and the end of names, or an address (IPv6 in brackets); each with or without a port. */
export const HOST_PATTERN = "^((\\*\\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$";

/** A list of hosts that cannot be read; the message says what to write instead. */
export class BadHostsError extends Error {
  override readonly name = "BadHostsError";
}

/**
 * Reads a list of hosts, separated by commas. An empty list names no host.
 *
 * @throws {@link BadHostsError}
 */
export function allowedHosts(list: string): readonly string[] {
  const hosts = list
    .split(",")
    .map((h) => h.trim().toLowerCase())
    .filter((h) => h !== "");
  const bad = hosts.find((h) => !new RegExp(HOST_PATTERN).test(h));
  if (bad !== undefined)
    throw new BadHostsError(
      `"${bad.slice(0, 100)}" is no host: write names separated by commas, such as files.example.com, *.example.com or 10.0.0.7:9000`,
    );
  return hosts;
}

/** Whether an entry of a list of hosts means the host of a URL. An entry without a port means every port; `*.` stands for one label or more. */
export function hostMatches(entry: string, url: URL): boolean {
  const [, host = "", port] = /^(.*?)(?::([0-9]+))?$/.exec(entry.toLowerCase()) ?? [];
  if (port !== undefined && port !== (url.port || (url.protocol === "http:" ? "80" : "443"))) return false;
  // A final dot is the same name to a resolver.
  const name = url.hostname.toLowerCase().replace(/\.$/, "");
  return host.startsWith("*.") ? name.endsWith(host.slice(1)) : name === host;
}
