import { lookup as dnsLookup, type LookupAddress, type LookupAllOptions } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { buildConnector, type Dispatcher, EnvHttpProxyAgent } from "undici";
import { AdapterError } from "../errors.ts";
import { isGuardedAddress, isGuardedName } from "./addresses.ts";
import { type AllowedHosts, endpointHosts, isAllowedAddress, isAllowedHost } from "./allowed.ts";
import { WideReads } from "./wide-reads.ts";

const CONNECT_TIMEOUT_MS = 10_000;

/** An address that only the operator may allow. Thrown where a connection is made, so it comes back as the cause of a network error. */
export class GuardedAddressError extends Error {
  override readonly name = "GuardedAddressError";
}

type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * The way out for every client that fetches artifacts: one pool of connections, proxies by the environment, and a guard.
 *
 * An artifactURL, its redirects and what a DNS server answers are other people's words. Without the operator's leave they lead neither to
 * this machine nor to a cloud's metadata server. What a name resolves to is checked where the connection is made, so that an answer that
 * changes meanwhile changes nothing. Where a proxy makes the connection, addresses and well-known names in the URL are checked here, and the
 * rest is the proxy's affair.
 */
export class Egress {
  readonly dispatcher: Dispatcher;
  readonly #allowed: AllowedHosts;
  readonly #own: readonly string[];
  readonly #resolve: Resolve;
  readonly #reads = new WideReads();

  /**
   * @param env - proxies (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) and the operator's own endpoints
   * @param idleTimeoutMs - longest silence of a server
   * @param resolve - asks for the addresses of a name
   */
  constructor(allowed: AllowedHosts, env: NodeJS.ProcessEnv, idleTimeoutMs: number, resolve: Resolve = dnsLookup) {
    this.#resolve = resolve;
    this.#allowed = allowed;
    this.#own = endpointHosts(env);
    const httpProxy = env.http_proxy || env.HTTP_PROXY || "";
    const direct = this.#connector(this.#lookup(() => false));
    const guarded = this.#connector(this.#lookup((a) => this.#isForbidden(a)));
    // Its deadlines are between bytes, never over a whole download.
    this.dispatcher = new EnvHttpProxyAgent({
      httpProxy,
      httpsProxy: env.https_proxy || env.HTTPS_PROXY || httpProxy,
      noProxy: env.no_proxy || env.NO_PROXY || "",
      connectTimeout: CONNECT_TIMEOUT_MS,
      headersTimeout: idleTimeoutMs,
      bodyTimeout: idleTimeoutMs,
      allowH2: false,
      connect: (options, callback) => {
        const url = urlOf(options);
        try {
          this.check(url);
        } catch (error) {
          return callback(error as Error, null);
        }
        return (this.#permits(url) ? direct : guarded)(options, callback);
      },
    });
  }

  /**
   * Checks a URL before it is asked: what its text tells by itself. Names are checked once more where they are resolved.
   *
   * @throws AdapterError `ArtifactNotAllowed`
   */
  check(url: URL): void {
    const host = bare(url);
    const guarded = isIP(host) === 0 ? isGuardedName(host) : isGuardedAddress(host);
    if (guarded && !this.#permits(url)) throw notAllowed(refusal(url.host, undefined));
  }

  /** Whether the operator named this endpoint, by `HF_ENDPOINT` for example. */
  isOwn(url: URL): boolean {
    return isAllowedHost({ hosts: this.#own }, url);
  }

  /** Takes back bytes of an answer, which nobody reads again: their memory is read into anew. */
  recycle(bytes: Uint8Array): void {
    this.#reads.recycle(bytes);
  }

  async close(): Promise<void> {
    await this.dispatcher.destroy();
  }

  #connector(lookup: LookupFunction): buildConnector.connector {
    const settings = { timeout: CONNECT_TIMEOUT_MS, allowH2: false, lookup };
    const encrypted = buildConnector(settings);
    return (options, callback) => {
      // Records of TLS are small, and Node reads them one by one whatever it is given.
      if (options.protocol === "https:") return encrypted(options, callback);
      const { options: wide, attach } = this.#reads.forSocket();
      return buildConnector({ ...settings, ...wide })(options, (...made: Parameters<typeof callback>) => {
        // After an error there is none, not even null.
        if (made[1]) attach(made[1]);
        callback(...made);
      });
    };
  }

  #permits(url: URL): boolean {
    return this.isOwn(url) || isAllowedHost(this.#allowed, url) || isAllowedAddress(this.#allowed, bare(url));
  }

  #isForbidden(address: string): boolean {
    return isGuardedAddress(address) && !isAllowedAddress(this.#allowed, address);
  }

  /** Resolves names, and answers with an error where one of the addresses is forbidden. Never asked for a host that is an address. */
  #lookup(isForbidden: (address: string) => boolean): LookupFunction {
    return (hostname, options, callback) =>
      this.#resolve(hostname, { ...options, all: true }, (error, addresses) => {
        if (error !== null) return callback(error, []);
        const bad = addresses.find(({ address }) => isForbidden(address));
        if (bad !== undefined) return callback(new GuardedAddressError(refusal(hostname, bad.address)), []);
        if (options.all === true) return callback(null, addresses);
        return callback(null, addresses[0]?.address ?? "", addresses[0]?.family);
      });
  }
}

function urlOf({ protocol, hostname, port }: buildConnector.Options): URL {
  return new URL(`${protocol ?? "http:"}//${isIP(hostname) === 6 ? `[${hostname}]` : hostname}${port ? `:${port}` : ""}/`);
}

function bare(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

/**
 * The guard's refusal where an error of a client has one among its causes, else `undefined`.
 */
export function guardRefusal(error: unknown): AdapterError | undefined {
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth += 1) {
    if (e instanceof AdapterError) return e;
    if (e instanceof GuardedAddressError) return notAllowed(e.message);
    if (e instanceof AggregateError) {
      const found = e.errors.find((inner) => inner instanceof GuardedAddressError);
      if (found instanceof GuardedAddressError) return notAllowed(found.message);
    }
  }
  return undefined;
}

function refusal(host: string, address: string | undefined): string {
  const what = address === undefined ? host : `${host} (${address})`;
  return `${what} is an address of this machine, of its link or of a cloud's metadata, where no artifact is fetched from: write another address, or let the operator name it in the runtime's --allow-artifact-hosts`;
}

function notAllowed(message: string): AdapterError {
  return new AdapterError("ArtifactNotAllowed", message);
}
