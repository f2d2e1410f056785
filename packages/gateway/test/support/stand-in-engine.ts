import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** What a stand-in engine saw of a request. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly bodyBytes: number;
}

/** The little of an engine that routing needs. It is no model of vLLM: the mock engine is. */
export class StandInEngine {
  readonly name: string;
  readonly seen: SeenRequest[] = [];
  /** Names that it serves; a request for another one is answered 404, as an engine does. */
  readonly models: Set<string>;
  /** Adapters among {@link models}: their parent. */
  readonly parents = new Map<string, string>();
  /** Set by a test that wants to answer in its own way; called once the body is in. */
  handler: ((request: IncomingMessage, response: ServerResponse, body: Buffer) => void) | undefined;
  apiKey: string | undefined;
  /** Requests that its metrics say wait in it; it says nothing of them while undefined. */
  waiting: number | undefined;
  #server: Server | undefined;
  #port = 0;

  constructor(name: string, models: readonly string[]) {
    this.name = name;
    this.models = new Set(models);
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** How many inference requests arrived. */
  get count(): number {
    return this.seen.filter((r) => r.method === "POST").length;
  }

  /** Listens, on the same port again after {@link stop}. */
  async start(): Promise<this> {
    const server = createServer((request, response) => void this.#serve(request, response));
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#port = (server.address() as { port: number }).port;
    this.#server = server;
    return this;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const path = request.url ?? "";
    const method = request.method ?? "";
    if (method === "POST") this.seen.push({ method, path, headers: request.headers, bodyBytes: body.length });
    if (/^\/metrics\/?(\?|$)/.test(path)) {
      response.end(this.waiting === undefined ? "" : `vllm:num_requests_waiting{engine="0",model_name="base"} ${this.waiting}.0\n`);
      return;
    }
    if (this.apiKey !== undefined && request.headers.authorization !== `Bearer ${this.apiKey}`) {
      return json(response, 401, { error: "Unauthorized" });
    }
    if (path === "/v1/models") return json(response, 200, { object: "list", data: this.#list() });
    if (this.handler !== undefined) return this.handler(request, response, body);
    const model = modelOf(body);
    // As an engine does. What a stranger asks who was given this port before must not end the test run.
    if (model === undefined) return json(response, 400, { error: { message: `${method} ${path}: the body is no JSON with a model` } });
    if (!this.models.has(model)) return json(response, 404, { error: { message: `no ${model} here`, code: 404 } });
    return json(response, 200, { engine: this.name, model, bodyBytes: body.length });
  }

  #list(): object[] {
    return [...this.models].map((id) => ({
      id,
      object: "model",
      created: 1_700_000_000,
      root: id,
      parent: this.parents.get(id) ?? null,
    }));
  }
}

function modelOf(body: Buffer): string | undefined {
  try {
    return (JSON.parse(body.toString()) as { readonly model?: string }).model;
  } catch {
    return undefined;
  }
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
