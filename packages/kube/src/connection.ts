import type { AgentOptions, RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import { Agent, type buildConnector, type Dispatcher, ProxyAgent } from "undici";

/** Where the settings of the cluster come from. */
export interface KubeConfigSource {
  /** A kubeconfig file. Without it: `KUBECONFIG`, then the pod's service account, then `~/.kube/config`. */
  readonly file?: string | undefined;
  /** A context of that file; its current one where absent. */
  readonly context?: string | undefined;
}

/**
 * Reads how to reach the cluster.
 *
 * @throws Error where a file is missing or names no usable cluster
 */
export function loadKubeConfig({ file, context }: KubeConfigSource = {}): KubeConfig {
  const config = new KubeConfig();
  if (file !== undefined && file !== "") config.loadFromFile(file);
  // The library asks ~/.kube/config before the service account; programs in a pod must never be led astray by a file in their home.
  else if (!process.env.KUBECONFIG && process.env.KUBERNETES_SERVICE_HOST) config.loadFromCluster();
  else config.loadFromDefault();
  if (context !== undefined && context !== "") config.setCurrentContext(context);
  if (config.getCurrentCluster() === null)
    throw new Error(`the kubeconfig names no cluster in its context ${JSON.stringify(config.getCurrentContext())}: set current-context`);
  return config;
}

/** The namespace of the current context or of the pod that this runs in; `default` where there is none. */
export function currentNamespace(config: KubeConfig): string {
  return config.getContextObject(config.getCurrentContext())?.namespace?.trim() || "default";
}

/** What a request needs. */
export interface OpenConnection {
  /** The server's URL without a slash at the end. */
  readonly base: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly dispatcher: Dispatcher;
}

type Tls = Pick<RequestOptions, "ca" | "cert" | "key" | "pfx" | "passphrase" | "rejectUnauthorized" | "servername">;
const TLS_FIELDS = ["ca", "cert", "key", "pfx", "passphrase", "rejectUnauthorized", "servername"] as const;

/** Turns a KubeConfig into headers and connections; follows tokens and certificates that change on disk. */
export class Connection {
  #config: KubeConfig;
  #dispatcher: Dispatcher | undefined;
  #tls: Tls | undefined;

  constructor(config: KubeConfig) {
    this.#config = config;
  }

  /** Reads the credentials as they are now. */
  async open(): Promise<OpenConnection> {
    const cluster = this.#config.getCurrentCluster();
    if (cluster === null) throw new Error("the kubeconfig has no current cluster: set current-context");
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value).trim();
    if (options.auth) headers.authorization = `Basic ${Buffer.from(options.auth).toString("base64")}`;
    return { base: cluster.server.replace(/\/+$/, ""), headers, dispatcher: this.#dispatcherFor(options) };
  }

  /** Forgets cached tokens: the next {@link open} reads or asks for new ones. For a token that the server refused. */
  refresh(): void {
    const { clusters, users, contexts, currentContext } = this.#config;
    const fresh = new KubeConfig();
    fresh.loadFromOptions({ clusters, users, contexts, currentContext });
    this.#config = fresh;
  }

  /** Drops all connections. Requests in flight fail. */
  async close(): Promise<void> {
    const dispatcher = this.#dispatcher;
    this.#dispatcher = undefined;
    await dispatcher?.destroy();
  }

  #dispatcherFor(options: RequestOptions): Dispatcher {
    const tls: Record<string, unknown> = {};
    for (const field of TLS_FIELDS) if (options[field] !== undefined) tls[field] = options[field];
    if (this.#dispatcher !== undefined && this.#tls !== undefined && sameTls(this.#tls, tls)) return this.#dispatcher;
    // Certificates changed: what runs on the old connections finishes there, without a wait here.
    this.#dispatcher?.close().catch(() => undefined);
    this.#tls = tls;
    this.#dispatcher = makeDispatcher(this.#config, tls);
    return this.#dispatcher;
  }
}

function sameTls(a: Tls, b: Tls): boolean {
  return TLS_FIELDS.every((field) => {
    const [x, y] = [a[field], b[field]];
    return Buffer.isBuffer(x) && Buffer.isBuffer(y) ? x.equals(y) : x === y;
  });
}

function makeDispatcher(config: KubeConfig, tls: Tls): Dispatcher {
  const { type, ...options } = config.createDispatcherOptions(config.getCurrentCluster(), tls as AgentOptions);
  // HTTP/1.1: a watch on its own connection dies alone, and never holds back the calls beside it.
  const common = { allowH2: false, keepAliveTimeout: 30_000 } as const;
  const socket = { keepAlive: true, keepAliveInitialDelay: 30_000, timeout: 10_000 } as const;
  const secure = tls as buildConnector.BuildOptions;
  if (!("uri" in options)) return new Agent({ ...common, connect: { ...secure, ...socket } });
  if (type === "proxy") return new ProxyAgent({ ...common, uri: options.uri, requestTls: secure, connect: socket });
  throw new Error("the kubeconfig's proxy-url is a SOCKS proxy, which is not supported: use an http proxy");
}
