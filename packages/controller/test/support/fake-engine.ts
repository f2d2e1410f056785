import type { ServerResponse } from "node:http";
import { type Answerer, type Asked, json } from "./fake-pods.ts";

/** vLLM's adapter routes, as measured on 0.32, in memory. */
export class FakeEngine implements Answerer {
  readonly base: string;
  readonly adapters = new Map<string, string>();
  /** Every call, `METHOD path lora_name`. */
  readonly calls: string[] = [];
  apiKey: string | undefined;
  runtimeUpdating = true;
  /** Repositories and paths that it finds. */
  exists: (path: string) => boolean = () => true;
  /** What it has to say against a path or repository, with HTTP 500; nothing where `undefined`. */
  objects: (path: string) => string | undefined = () => undefined;
  /** Whether its list of models is answered. */
  lists = true;
  /** Loads end once this is resolved, whoever asked for them is there or not. */
  gate: Promise<void> = Promise.resolve();
  /** Nothing is answered, or done, before this is resolved; who is gone by then is not answered at all. */
  stuck: Promise<void> | undefined;
  /** How long a load takes. */
  loadMs = 0;
  /** Loads that run now, by name. */
  readonly loading: string[] = [];
  /** Most loads of one name that ran at a time. */
  most = 0;
  /** `--max-loras`. */
  maxLoras = 4;
  /** Names that have requests. */
  readonly busy = new Set<string>();
  /** What a request under a name comes to. */
  completes: (name: string) => number = () => 200;
  /** Names under which a request came. */
  readonly completed: string[] = [];
  /** Old releases put errors at the top level. */
  oldErrors = false;

  constructor(base: string) {
    this.base = base;
  }

  /** A new process: all adapters are gone. */
  restart(): void {
    this.adapters.clear();
  }

  async answer(asked: Asked, reply: ServerResponse): Promise<void> {
    await this.stuck;
    if (reply.destroyed) return;
    if (asked.path === "/v1/load_lora_adapter") await this.#wait(String(asked.body.lora_name));
    const [status, body] = this.#decide(asked);
    if (typeof body === "string") reply.writeHead(status).end(body);
    else json(reply, status, body);
  }

  async #wait(name: string): Promise<void> {
    this.loading.push(name);
    this.most = Math.max(this.most, this.loading.filter((n) => n === name).length);
    await this.gate;
    if (this.loadMs > 0) await new Promise((resolve) => setTimeout(resolve, this.loadMs));
    this.loading.splice(this.loading.indexOf(name), 1);
  }

  #decide({ method, path, authorization, body }: Asked): readonly [number, object | string] {
    if (path === "/metrics") return [200, this.#metrics()];
    if (path === "/v1/completions") return this.#complete(String(body.model));
    this.calls.push(`${method} ${path} ${String(body.lora_name ?? "")}`.trim());
    if (this.apiKey !== undefined && authorization !== `Bearer ${this.apiKey}`) return [401, { error: "Unauthorized" }];
    if (path === "/v1/models" && !this.lists) return [500, { error: "Internal Server Error" }];
    if (path === "/v1/models") return [200, { object: "list", data: this.#models() }];
    if (!this.runtimeUpdating) return [404, { detail: "Not Found" }];
    const name = String(body.lora_name);
    if (path === "/v1/load_lora_adapter") {
      const root = String(body.lora_path);
      if (this.adapters.has(name)) return this.#error(400, "InvalidUserInput", `The lora adapter '${name}' has already been loaded.`);
      if (!this.exists(root)) return this.#error(404, "NotFoundError", `Loading lora ${name} failed: No adapter found for ${root}`);
      const objection = this.objects(root);
      if (objection !== undefined) return this.#error(500, "InternalServerError", objection);
      this.adapters.set(name, root);
      return [200, `Success: LoRA adapter '${name}' added successfully.`];
    }
    if (path === "/v1/unload_lora_adapter") {
      if (!this.adapters.delete(name)) return this.#error(404, "NotFoundError", `The lora adapter '${name}' cannot be found.`);
      return [200, `Success: LoRA adapter '${name}' removed successfully.`];
    }
    return [404, { detail: "Not Found" }];
  }

  #metrics(): string {
    const names = [...this.busy].join(",");
    const info = `vllm:lora_requests_info{max_lora="${this.maxLoras}",running_lora_adapters="${names}",waiting_lora_adapters="${names}"} 1.7e9`;
    return [`vllm:num_requests_running ${this.busy.size}`, "vllm:num_requests_waiting 0", info, ""].join("\n");
  }

  #complete(name: string): readonly [number, object | string] {
    this.completed.push(name);
    if (!this.adapters.has(name)) return this.#error(404, "NotFoundError", `The model \`${name}\` does not exist.`);
    const status = this.completes(name);
    if (status === 404) return [404, { detail: "Not Found" }];
    return status === 200 ? [200, { choices: [{ text: "x" }] }] : this.#error(status, "InternalServerError", "oops");
  }

  #models(): object[] {
    const adapters = [...this.adapters].map(([id, root]) => ({ id, object: "model", root, parent: this.base }));
    return [{ id: this.base, object: "model", root: this.base, parent: null }, ...adapters];
  }

  #error(status: number, type: string, message: string): readonly [number, object] {
    return [
      status,
      this.oldErrors ? { object: "error", message, type, code: status } : { error: { message, type, param: null, code: status } },
    ];
  }
}
