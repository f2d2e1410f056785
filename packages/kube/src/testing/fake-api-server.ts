import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { KubeConfig } from "@kubernetes/client-node";
import type { KubeObject, Log, Status } from "../types.ts";

/** One request as it came in. */
export interface Seen {
  readonly verb: "list" | "watch" | "other";
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Answers a request in place of the server; false leaves it to the server. */
export type Fault = (seen: Seen, answer: ServerResponse) => boolean;

/** Answers with a Status. */
export function fail(code: number, reason: string, more: { readonly retryAfterS?: number; readonly message?: string } = {}): Fault {
  return (_seen, answer) => {
    if (more.retryAfterS !== undefined) answer.setHeader("retry-after", String(more.retryAfterS));
    answer.writeHead(code, { "content-type": "application/json" });
    const status: Status = { kind: "Status", status: "Failure", code, reason, message: more.message ?? `scripted ${reason}` };
    answer.end(JSON.stringify(status));
    return true;
  };
}

/** Cuts the connection without an answer. */
export const drop: Fault = (_seen, answer) => {
  answer.socket?.destroy();
  return true;
};

/** Never answers. */
export const hang: Fault = () => true;

/** A stand-in for one collection of an API server, that fails on demand. */
export class FakeApiServer implements AsyncDisposable {
  readonly seen: Seen[] = [];
  /** Asked in order for every request; the first that returns true has answered. */
  readonly faults: Fault[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #watches = new Set<ServerResponse>();
  readonly #muted = new WeakSet<ServerResponse>();
  readonly #objects = new Map<string, KubeObject>();
  #history: { readonly version: number; readonly type: string; readonly object: KubeObject }[] = [];
  #version = 100;
  #oldest = 100;

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.on("request", (request: IncomingMessage, answer: ServerResponse) => void this.#take(request, answer));
  }

  static async start(): Promise<FakeApiServer> {
    const server = createServer();
    const fake = new FakeApiServer(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A configuration that reaches this server; `user` carries credentials. */
  config(user: object = {}): KubeConfig {
    const config = new KubeConfig();
    config.loadFromClusterAndUser({ name: "fake", server: this.url, skipTLSVerify: true }, { name: "me", ...user });
    return config;
  }

  count(verb: Seen["verb"]): number {
    return this.seen.filter((s) => s.verb === verb).length;
  }

  /** The next requests of a kind fail, each in its way; then all is well again. */
  failNext(verb: Seen["verb"], ...faults: readonly Fault[]): void {
    const left = [...faults];
    this.faults.push((seen, answer) => (seen.verb === verb ? (left.shift()?.(seen, answer) ?? false) : false));
  }

  put(name: string, fields: object = {}): void {
    const type = this.#objects.has(name) ? "MODIFIED" : "ADDED";
    const metadata = { name, namespace: "ns", uid: `uid-${name}`, resourceVersion: String(++this.#version) };
    this.#change(type, { ...fields, metadata });
  }

  remove(name: string): void {
    const old = this.#objects.get(name);
    if (old === undefined) return;
    this.#change("DELETED", { ...old, metadata: { ...old.metadata, resourceVersion: String(++this.#version) } });
  }

  /** Forgets the history: a watch from an older version is refused from now on. */
  compact(): void {
    this.#history = [];
    this.#oldest = ++this.#version;
  }

  /** Goes back to older versions, as a server whose data was restored from a backup. */
  rewind(): void {
    this.#version = 10;
    this.#oldest = 10;
    this.#history = [];
  }

  /** Sends text on all watches. */
  send(text: string): void {
    for (const watch of this.#watches) if (!this.#muted.has(watch)) watch.write(text);
  }

  bookmark(): void {
    this.send(`${JSON.stringify({ type: "BOOKMARK", object: { metadata: { resourceVersion: String(this.#version) } } })}\n`);
  }

  /** Nothing more is sent on the watches that are open now; they stay open. */
  mute(): void {
    for (const watch of this.#watches) this.#muted.add(watch);
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  /** Ends all watches as a server does whose time is up. */
  endWatches(): void {
    for (const watch of this.#watches) watch.end();
  }

  /** Cuts all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #change(type: string, object: KubeObject): void {
    if (type === "DELETED") this.#objects.delete(object.metadata.name);
    else this.#objects.set(object.metadata.name, object);
    this.#history.push({ version: this.#version, type, object });
    this.send(`${JSON.stringify({ type, object })}\n`);
  }

  async #take(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { pathname, searchParams } = new URL(request.url ?? "/", this.url);
    const verb = request.method !== "GET" ? "other" : searchParams.has("watch") ? "watch" : "list";
    const seen: Seen = { verb, method: request.method ?? "", path: pathname, query: searchParams, headers: request.headers, body };
    this.seen.push(seen);
    if (this.faults.some((fault) => fault(seen, answer))) return;
    if (verb === "watch") this.#watch(searchParams, answer);
    else if (verb === "list") this.#list(searchParams, answer);
    else answer.end(body);
  }

  #list(query: URLSearchParams, answer: ServerResponse): void {
    const limit = Number(query.get("limit") ?? 0);
    const from = Number(query.get("continue") ?? 0);
    const all = [...this.#objects.values()];
    const items = limit > 0 ? all.slice(from, from + limit) : all;
    const more = limit > 0 && from + limit < all.length ? { continue: String(from + limit) } : {};
    answer.setHeader("content-type", "application/json");
    answer.end(JSON.stringify({ kind: "List", metadata: { resourceVersion: String(this.#version), ...more }, items }));
  }

  #watch(query: URLSearchParams, answer: ServerResponse): void {
    const from = Number(query.get("resourceVersion"));
    if (from < this.#oldest) return void fail(410, "Expired")({} as Seen, answer);
    answer.writeHead(200, { "content-type": "application/json" });
    answer.flushHeaders();
    this.#watches.add(answer);
    answer.on("close", () => this.#watches.delete(answer));
    for (const { version, type, object } of this.#history) if (version > from) answer.write(`${JSON.stringify({ type, object })}\n`);
  }
}

/** A log that keeps its lines. */
export function memoryLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const write = (level: string) => (fields: object, message: string) => void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  return { lines, debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
