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

  private constructor() {
    this.#server = createServer((request, reply) => void this.#route(request, reply));
  }

  static async start(): Promise<FakePods> {
    const pods = new FakePods();
    await new Promise<void>((resolve) => pods.#server.listen(0, "127.0.0.1", resolve));
    return pods;
  }

  /** The controller's `connect`. */
  readonly connect = (ip: string, port: number): string =>
    `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${ip.replaceAll(":", "_")}/${port}`;

  /** Lets something answer at a pod's address; `undefined` for nobody. */
  put(ip: string, port: number, answerer: Answerer | undefined): void {
    const key = `${ip.replaceAll(":", "_")}/${port}`;
    if (answerer === undefined) this.#ports.delete(key);
    else this.#ports.set(key, answerer);
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
    await answerer.answer(
      { method, path: `/${rest.join("/")}`, query: url.searchParams, authorization: headers.authorization, body },
      reply,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function json(reply: ServerResponse, status: number, body: unknown): void {
  reply.writeHead(status, { "content-type": "application/json" });
  reply.end(JSON.stringify(body));
}
