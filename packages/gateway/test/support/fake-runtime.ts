import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AdapterStatus, EngineStatus, Snapshot, WatchEvent } from "@aibrix/api";

/** A runtime's watch over real HTTP, driven by the test. */
export class FakeRuntime {
  engine: EngineStatus;
  readonly adapters = new Map<string, AdapterStatus>();
  /** Watches that were ever opened. */
  connections = 0;
  /** Answer to a watch instead of 200. */
  status = 200;
  #server: Server | undefined;
  readonly #watches = new Set<ServerResponse>();
  #port = 0;

  constructor(engineUrl: string, bases: readonly string[]) {
    this.engine = { url: engineUrl, kind: "vllm", ready: true, base_models: [...bases] };
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get watches(): number {
    return this.#watches.size;
  }

  async start(): Promise<this> {
    const server = createServer((request, response) => {
      if (request.url !== "/v1/lora_adapters?watch=true" || this.status !== 200) {
        response.writeHead(this.status === 200 ? 404 : this.status).end("{}");
        return;
      }
      this.connections += 1;
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      this.#watches.add(response);
      response.on("close", () => this.#watches.delete(response));
      write(response, { type: "SNAPSHOT", object: this.snapshot() });
    });
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

  /** Cuts every watch, as a crash does. */
  cut(): void {
    for (const watch of this.#watches) watch.destroy();
  }

  send(event: WatchEvent): void {
    for (const watch of this.#watches) write(watch, event);
  }

  sendRaw(text: string): void {
    for (const watch of this.#watches) watch.write(text);
  }

  setAdapter(name: string, fields: Partial<AdapterStatus> = {}): void {
    const adapter = adapterStatus(name, fields);
    this.adapters.set(name, adapter);
    this.send({ type: "ADAPTER", object: adapter });
  }

  deleteAdapter(name: string): void {
    this.adapters.delete(name);
    this.send({ type: "DELETED", lora_name: name });
  }

  setReady(ready: boolean): void {
    this.engine = { ...this.engine, ready };
    this.send({ type: "ENGINE", object: this.engine });
  }

  snapshot(): Snapshot {
    return { instance_id: "i1", engine: this.engine, adapters: [...this.adapters.values()], manifest_problems: [] };
  }
}

/** An adapter as a runtime reports it: served, unless the fields say otherwise. */
function adapterStatus(name: string, fields: Partial<AdapterStatus> = {}): AdapterStatus {
  return {
    lora_name: name,
    artifact_url: `/adapters/${name}`,
    origin: "api",
    state: "Serving",
    serving: { content_digest: "sha256:0", path: `/adapters/${name}/0`, since: "2026-01-02T03:04:05Z" },
    attempts: 0,
    ...fields,
  };
}

function write(response: ServerResponse, event: WatchEvent): void {
  response.write(`${JSON.stringify(event)}\n`);
}
