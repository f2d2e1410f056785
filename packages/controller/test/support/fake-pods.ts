import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One request to a fake: path without query, query, parsed body. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly body: Record<string, unknown>;
}

/** Something that answers on a pod's port. */
export interface Answerer {
  answer(asked: Asked, reply: ServerResponse): void | Promise<void>;
}

/** Stands for the network of all pods: one server, in which the path's beginning says which pod and port are meant. */
export class FakePods implements AsyncDisposable {
  readonly #server: Server;
  readonly #ports = new Map<string, Answerer>();
  readonly #urls = new Map<string, string>();
  /** Asked before a call reaches a pod, which waits for it; `drop`: it never gets there. */
  judge: (asked: Asked) => Promise<"pass" | "drop"> = async () => "pass";

  private constructor() {
    this.#server = createServer((request, reply) => void this.#route(request, reply));
  }

  static async start(): Promise<FakePods> {
    const pods = new FakePods();
    await new Promise<void>((resolve) => pods.#server.listen(0, "127.0.0.1", resolve));
    return pods;
  }

  /** Where all pods are reached: below it come a pod's address and the port. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The controller's `connect`. */
  readonly connect = (ip: string, port: number): string => this.#urls.get(key(ip, port)) ?? `${this.url}/${key(ip, port)}`;

  /** Lets something answer at a pod's address; `undefined` for nobody. */
  put(ip: string, port: number, answerer: Answerer | undefined): void {
    if (answerer === undefined) this.#ports.delete(key(ip, port));
    else this.#ports.set(key(ip, port), answerer);
  }

  /** Lets a real program answer at a pod's address. */
  map(ip: string, port: number, url: string): void {
    this.#urls.set(key(ip, port), url);
  }

  async #route(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://pods");
    const [, ip, port, ...rest] = url.pathname.split("/");
    const answerer = this.#ports.get(`${ip}/${port}`);
    if (answerer === undefined) {
      request.socket.destroy();
      return;
    }
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
    const { method = "GET", headers } = request;
    const asked = { method, path: `/${rest.join("/")}`, query: url.searchParams, authorization: headers.authorization, body };
    if ((await this.judge(asked)) === "drop") return void request.socket.destroy();
    await answerer.answer(asked, reply);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function key(ip: string, port: number): string {
  return `${ip.replaceAll(":", "_")}/${port}`;
}

export function json(reply: ServerResponse, status: number, body: unknown): void {
  reply.writeHead(status, { "content-type": "application/json" });
  reply.end(JSON.stringify(body));
}
