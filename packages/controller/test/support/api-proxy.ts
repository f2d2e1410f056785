import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import type { ControlPlane } from "@aibrix/devcluster";
import type { Status } from "@aibrix/kube";

/** A call on its way to the API server. */
export interface Passing {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: string;
}

/** A `Status` to answer in place of the API server, or nothing to let the call pass. */
export type Verdict = (Status & { readonly code: number }) | undefined;

/** Stands between a controller and the real API server, and may look at each call, hold it up, refuse it or cut the line. */
export class ApiProxy implements AsyncDisposable {
  /** Asked before a call is passed on; the call waits for it. */
  judge: (call: Passing) => Verdict | Promise<Verdict> = () => undefined;
  /** Told that the API server has answered a call; the answer waits for it. */
  answered: (call: Passing) => void | Promise<void> = () => undefined;
  readonly #plane: ControlPlane;
  readonly #server = createServer((call, reply) => void this.#take(call, reply));
  #cut = false;

  private constructor(plane: ControlPlane) {
    this.#plane = plane;
  }

  static async start(plane: ControlPlane): Promise<ApiProxy> {
    const proxy = new ApiProxy(plane);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Ends all connections, and every new one at once, until {@link join}. */
  cut(): void {
    this.#cut = true;
    this.#server.closeAllConnections();
  }

  join(): void {
    this.#cut = false;
  }

  async #take(call: IncomingMessage, reply: ServerResponse): Promise<void> {
    if (this.#cut) return void call.socket.destroy();
    let body = "";
    for await (const chunk of call) body += chunk;
    const { method = "GET", url = "/", headers } = call;
    const { pathname, searchParams } = new URL(url, this.#plane.url);
    const passing = { method, path: pathname, query: searchParams, body };
    const verdict = await this.judge(passing);
    if (verdict !== undefined) {
      reply.writeHead(verdict.code, { "content-type": "application/json" });
      reply.end(JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", ...verdict }));
      return;
    }
    const { host: _, connection: __, ...passed } = headers;
    const onward = request(
      `${this.#plane.url}${url}`,
      { method, headers: passed, ca: this.#plane.admin.ca, agent: false },
      async (answer) => {
        await this.answered(passing);
        reply.writeHead(answer.statusCode ?? 502, answer.headers);
        // A watch has begun with its headers, long before its first event.
        reply.flushHeaders();
        answer.pipe(reply);
        answer.on("error", () => reply.destroy());
      },
    );
    onward.on("error", () => reply.destroy());
    reply.on("close", () => onward.destroy());
    onward.end(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
