import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ensureVllm, vllmServeCommand } from "@aibrix/devcluster";
import { expect, vi } from "vitest";
import { complete, post } from "./client.ts";
import { freePort } from "./engine.ts";
import { BASE_MODEL } from "./manifest.ts";
import type { Stack } from "./stack.ts";
import { streamed } from "./streams.ts";

const START_MS = 600_000;
const NAME = "alone";

/** A vLLM that nobody but the test talks to: what it answers with one adapter is what that adapter says. */
export class ReferenceEngine {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#child = child;
  }

  /** Over the base model of a stack. */
  static async start(stack: Pick<Stack, "folder" | "hubRepo">): Promise<ReferenceEngine> {
    const { bin } = await ensureVllm({ log: console.log, signal: AbortSignal.timeout(START_MS) });
    const port = await freePort();
    const { argv, env } = vllmServeCommand({
      bin,
      modelDir: stack.hubRepo("Qwen/Qwen2.5-Coder-1.5B-Instruct"),
      servedModelName: BASE_MODEL,
      port,
      cacheDir: join(stack.folder, "by-hand"),
    });
    const [file, ...args] = argv;
    const child = spawn(file, args, { stdio: "ignore", env: { ...process.env, ...env } });
    const url = `http://127.0.0.1:${port}`;
    await vi.waitFor(async () => expect((await fetch(`${url}/health`)).ok).toBe(true), { timeout: START_MS, interval: 500 });
    return new ReferenceEngine(url, child);
  }

  /** Loads an adapter; answers with the engine's HTTP status. */
  async load(lora_name: string, lora_path: string): Promise<number> {
    return (await this.#post("load_lora_adapter", { lora_name, lora_path })).status;
  }

  async unload(lora_name: string): Promise<void> {
    await this.#post("unload_lora_adapter", { lora_name });
  }

  /** What an adapter alone answers to {@link complete}. */
  async textOf(dir: string): Promise<string> {
    return await this.#alone(dir, async () => (await complete(this.url, NAME)).text);
  }

  /** What an adapter alone answers to {@link streamed}. */
  async streamOf(dir: string): Promise<string> {
    return await this.#alone(dir, async () => await (await streamed(this.url, NAME)).text());
  }

  /** What an adapter alone answers to a request for a completion. @param body - without the model */
  async answerOf(dir: string, body: Readonly<Record<string, unknown>>): Promise<string> {
    return await this.#alone(dir, async () => (await post(this.url, JSON.stringify({ model: NAME, ...body }))).text);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await exit;
  }

  /** The engine's prefix cache is keyed by name and path, so adapters of different folders do not meet there. */
  async #alone(dir: string, ask: () => Promise<string>): Promise<string> {
    expect(await this.load(NAME, dir)).toBe(200);
    try {
      return await ask();
    } finally {
      await this.unload(NAME);
    }
  }

  async #post(call: string, body: object): Promise<Response> {
    return await fetch(`${this.url}/v1/${call}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }
}
