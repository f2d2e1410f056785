import { PROBE, probeRequest, probeTimedOut, probeVerdict, refusalText } from "@aibrix/api";
import { deadline } from "@aibrix/service";
import { Agent, request } from "undici";
import { AdapterError, HttpAnswer, isTimeout, messageOf, networkCode } from "../errors.ts";
import type { Engine, EngineModel } from "./engine.ts";
import { refusalError } from "./refusals.ts";

/** How long each call may take, in milliseconds. A load reads weights from disk: 41 s were seen on slow shared storage. */
const DEADLINE_MS = { health: 2_000, list: 5_000, load: 300_000, unload: 60_000, metrics: 2_000 } as const;

/** More than any list of models or page of metrics; a bound for what a wrong endpoint may send. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** vLLM over its OpenAI-compatible server and its calls for adapters. */
export class VllmEngine implements Engine {
  readonly kind = "vllm";
  readonly url: string;
  readonly #agent: Agent;

  /** @param endpoint - `INFERENCE_ENGINE_ENDPOINT`, `http://localhost:8000` for example */
  constructor(endpoint: string) {
    this.url = endpoint.replace(/\/+$/, "");
    // Deadlines are signals; undici's own would end a long load.
    this.#agent = new Agent({ connections: 8, headersTimeout: 0, bodyTimeout: 0, connectTimeout: 2_000, maxResponseSize: MAX_BODY_BYTES });
  }

  async health(signal: AbortSignal): Promise<void> {
    const { status } = await this.#call("GET", "/health", { timeoutMs: DEADLINE_MS.health }, signal);
    if (status !== 200)
      throw new AdapterError("EngineUnavailable", `the engine at ${this.url} answers /health with HTTP ${status}: look into its log`);
  }

  async listModels(apiKey: string | undefined, signal: AbortSignal): Promise<readonly EngineModel[]> {
    const { status, body } = await this.#call("GET", "/v1/models", { timeoutMs: DEADLINE_MS.list, apiKey }, signal);
    if (status === 401) throw refusalError({ status, body });
    const models = status === 200 ? parseModels(body) : undefined;
    if (models === undefined)
      throw new AdapterError(
        "EngineUnavailable",
        `${this.url}/v1/models answered HTTP ${status} without a list of models: check that INFERENCE_ENGINE_ENDPOINT is a vLLM server`,
      );
    return models;
  }

  async load({ name, path, apiKey }: Parameters<Engine["load"]>[0], signal: AbortSignal): Promise<void> {
    const body = { lora_name: name, lora_path: path };
    const answer = await this.#call("POST", "/v1/load_lora_adapter", { timeoutMs: DEADLINE_MS.load, apiKey, body }, signal);
    if (answer.status !== 200) throw refusalError(answer, path);
  }

  async probe({ name, apiKey }: Parameters<Engine["probe"]>[0], signal: AbortSignal): Promise<"served" | "notNeeded"> {
    const options = { timeoutMs: PROBE.timeoutMs, apiKey, body: probeRequest(name) };
    const answer = await this.#call("POST", PROBE.path, options, signal).catch((error: unknown) => {
      throw isTimeout(error) ? new AdapterError("ProbeFailed", probeTimedOut(), { cause: error }) : error;
    });
    const verdict = probeVerdict(answer.status, refusalText(answer.body));
    if (verdict.kind !== "failed") return verdict.kind;
    throw new AdapterError("ProbeFailed", verdict.message, { cause: new HttpAnswer(answer.status) });
  }

  async ask({ path, ...options }: Parameters<Engine["ask"]>[0], signal: AbortSignal): Promise<Answer> {
    return await this.#call("POST", path, options, signal);
  }

  async unload({ name, apiKey }: Parameters<Engine["unload"]>[0], signal: AbortSignal): Promise<void> {
    const options = { timeoutMs: DEADLINE_MS.unload, apiKey, body: { lora_name: name } };
    const answer = await this.#call("POST", "/v1/unload_lora_adapter", options, signal);
    const notThere = answer.status === 404 && refusalText(answer.body) !== "Not Found";
    if (answer.status !== 200 && !notThere) throw refusalError(answer);
  }

  async bootId(signal: AbortSignal): Promise<string | undefined> {
    const started = /^process_start_time_seconds(?:\{[^}]*\})? (\S+)/m.exec(await this.metrics(signal))?.[1];
    return started === undefined ? undefined : `started-${Number(started)}`;
  }

  startedAtMs(bootId: string): number | undefined {
    const seconds = Number(/^started-(.+)$/.exec(bootId)?.[1]);
    return Number.isFinite(seconds) ? seconds * 1000 : undefined;
  }

  async metrics(signal: AbortSignal): Promise<string> {
    const options = { timeoutMs: DEADLINE_MS.metrics, accept: "text/plain; version=0.0.4" };
    const { status, body } = await this.#call("GET", "/metrics", options, signal);
    if (status !== 200) throw new AdapterError("EngineUnavailable", `${this.url}/metrics answered HTTP ${status}`);
    return body;
  }

  onDisconnect(listener: () => void): void {
    this.#agent.on("disconnect", listener);
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #call(
    method: "GET" | "POST",
    path: string,
    options: { readonly timeoutMs: number; readonly apiKey?: string | undefined; readonly body?: object; readonly accept?: string },
    signal: AbortSignal,
  ): Promise<Answer> {
    try {
      const { statusCode, body } = await request(`${this.url}${path}`, {
        method,
        dispatcher: this.#agent,
        signal: deadline(options.timeoutMs, signal),
        headers: {
          accept: options.accept ?? "application/json",
          ...(options.body === undefined ? {} : { "content-type": "application/json" }),
          ...(options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` }),
        },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      });
      return { status: statusCode, body: await body.text() };
    } catch (error) {
      if (signal.aborted) throw error;
      throw unreachable(this.url, path, options.timeoutMs, error);
    }
  }
}

function unreachable(url: string, path: string, timeoutMs: number, error: unknown): AdapterError {
  const code = networkCode(error);
  const what =
    code === "TIMEOUT" || code === "UND_ERR_CONNECT_TIMEOUT"
      ? `did not answer ${path} within ${timeoutMs / 1000} s`
      : `does not answer (${code ?? messageOf(error)})`;
  return new AdapterError(
    "EngineUnavailable",
    `the engine at ${url} ${what}: check that it runs, that it has started, and INFERENCE_ENGINE_ENDPOINT`,
    { cause: error },
  );
}

function parseModels(body: string): readonly EngineModel[] | undefined {
  let data: unknown;
  try {
    data = (JSON.parse(body) as { data?: unknown } | null)?.data;
  } catch {
    return undefined;
  }
  if (!Array.isArray(data)) return undefined;
  return data.flatMap((raw: Record<string, unknown> | null) =>
    typeof raw?.id === "string" ? [{ id: raw.id, root: text(raw.root), parent: text(raw.parent), raw }] : [],
  );
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
