import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdapterStatus, Snapshot } from "@aibrix/api";
import { writeBaseModel } from "@aibrix/devcluster";
import { expect, vi } from "vitest";
import { type Program, startProgram } from "./program.ts";

/** Name under which the base model of every engine here is served. */
export const BASE = "qwen-coder-1-5b-instruct";

/** A try that failed is made again after 1, 2, 4, 8 and 16 s, and a loaded machine takes its time for each. */
const STATE_MS = 60_000;
/** Lines of a runtime's log that are told where it does not do as wanted. */
const LINES = 30;

export interface RuntimeOptions {
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** A command that runs what comes after it, in its own place. */
  readonly wrapper?: readonly string[];
}

/** A folder for one test, with what its programs need in it. */
export class World {
  readonly dir: string = mkdtempSync(join(tmpdir(), "aibrix-runtime-test-"));
  readonly artifacts: string = join(this.dir, "artifacts");
  readonly manifests: string = join(this.dir, "manifests");

  constructor() {
    mkdirSync(this.manifests);
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** A mock engine; give a port to start another process at the place of the last one. */
  async engine(options: { args?: readonly string[]; env?: NodeJS.ProcessEnv; port?: string } = {}): Promise<Program> {
    const base = this.path("base");
    await writeBaseModel(base);
    const args = ["--model", base, "--served-model-name", BASE, "--host", "127.0.0.1", "--port", options.port ?? "0"];
    const lora = ["--enable-lora", "--max-loras", "2", "--max-cpu-loras", "8", "--max-lora-rank", "8"];
    return await startProgram("mock-engine", [...args, ...lora, ...(options.args ?? [])], {
      VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True",
      ...options.env,
    });
  }

  async runtime(engineUrl: string, options: RuntimeOptions = {}): Promise<Runtime> {
    // Servers of tests listen here, and Secrets of tests name them: without the operator's leave both are refused.
    const args = [
      "--port=0",
      "--host=127.0.0.1",
      `--artifacts-dir=${this.artifacts}`,
      "--allow-artifact-hosts=127.0.0.1",
      ...(options.args ?? []),
    ];
    const env = { INFERENCE_ENGINE_ENDPOINT: engineUrl, LOG_LEVEL: "debug", ...options.env };
    return new Runtime(await startProgram("runtime", args, env, options.wrapper));
  }

  /** A runtime that follows `manifests`. */
  async follower(engineUrl: string, options: RuntimeOptions = {}): Promise<Runtime> {
    return await this.runtime(engineUrl, { ...options, args: [`--adapters-dir=${this.manifests}`, ...(options.args ?? [])] });
  }
}

/** A running runtime, by its HTTP API. */
export class Runtime {
  readonly program: Program;

  constructor(program: Program) {
    this.program = program;
  }

  get url(): string {
    return this.program.url;
  }

  async post(call: "load" | "unload", body: object): Promise<{ readonly status: number; readonly body: AdapterStatus }> {
    const response = await fetch(`${this.url}/v1/lora_adapter/${call}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as AdapterStatus };
  }

  load(name: string, url: string, more: object = {}): Promise<{ readonly status: number; readonly body: AdapterStatus }> {
    return this.post("load", { lora_name: name, artifact_url: url, ...more });
  }

  async text(path: string): Promise<{ readonly status: number; readonly text: string }> {
    const response = await fetch(`${this.url}${path}`);
    return { status: response.status, text: await response.text() };
  }

  async snapshot(): Promise<Snapshot> {
    return JSON.parse((await this.text("/v1/lora_adapters")).text) as Snapshot;
  }

  /** Waits until an adapter looks as wanted. @throws where it does not, with the end of what the runtime wrote */
  async until(name: string, want: object): Promise<AdapterStatus> {
    let last: AdapterStatus | undefined;
    try {
      return await vi.waitFor(
        async () => {
          last = (await this.snapshot()).adapters.find((a) => a.lora_name === name);
          expect(last).toMatchObject(want);
          return last as AdapterStatus;
        },
        { timeout: STATE_MS, interval: 20 },
      );
    } catch (error) {
      const lines = this.program.output().trimEnd().split("\n").slice(-LINES);
      throw new Error(`${name} is ${JSON.stringify(last)}. The runtime's last lines:\n${lines.join("\n")}`, { cause: error });
    }
  }

  serves(name: string): Promise<AdapterStatus> {
    return this.until(name, { state: "Serving" });
  }

  failed(name: string, reason: string): Promise<AdapterStatus> {
    return this.until(name, { state: "Failed", reason });
  }

  async gone(name: string): Promise<void> {
    await eventually(async () => expect((await this.snapshot()).adapters.map((a) => a.lora_name)).not.toContain(name));
  }
}

/** Waits until a check passes, for so many milliseconds. */
export async function eventually(check: () => void | Promise<void>, timeout: number = STATE_MS): Promise<void> {
  await vi.waitFor(check, { timeout, interval: 20 });
}

/** Names that an engine answers to, with where each came from. */
export async function engineModels(engine: Program, apiKey?: string): Promise<Readonly<Record<string, string>>> {
  const response = await fetch(`${engine.url}/v1/models`, apiKey === undefined ? {} : { headers: { authorization: `Bearer ${apiKey}` } });
  const { data } = (await response.json()) as { data: readonly { id: string; root: string }[] };
  return Object.fromEntries(data.map((m) => [m.id, m.root]));
}

/** A completion's answer; the mock names the digest of the weights that gave it. */
export async function complete(engine: Program, model: string): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${engine.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, prompt: "def add(a, b):", max_tokens: 8 }),
  });
  return { status: response.status, text: await response.text() };
}

/** How often an engine was asked to load something: its own log tells. */
export function loadsOf(engine: Program, name: string): number {
  return engine
    .output()
    .split("\n")
    .filter((line) => line.includes("loaded a LoRA adapter") && line.includes(`"${name}"`)).length;
}
