import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureVllm, vllmServeCommand, writeBaseModel } from "@aibrix/devcluster";
import { expect, vi } from "vitest";
import { complete, post } from "./client.ts";
import { freePort } from "./engine.ts";
import { BASE_MODEL } from "./manifest.ts";
import { streamed } from "./streams.ts";

const START_MS = 600_000;
const NAME = "alone";

/** A vLLM that nobody but the test talks to: what it answers with one adapter is what that adapter says. */
export class ReferenceEngine {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, child: ChildProcess, folder: string) {
    this.url = url;
    this.#child = child;
    this.#folder = folder;
  }

  /** Over a base model of its own, which is the one that every stack has. */
  static async start(): Promise<ReferenceEngine> {
    const { bin } = await ensureVllm({ log: console.log, signal: AbortSignal.timeout(START_MS) });
    const folder = await mkdtemp(join(tmpdir(), "aibrix-e2e-alone-"));
    const modelDir = join(folder, "base");
    await writeBaseModel(modelDir);
    const port = await freePort();
    const { argv, env } = vllmServeCommand({ bin, modelDir, servedModelName: BASE_MODEL, port, cacheDir: join(folder, "caches") });
    const [file, ...args] = argv;
    const child = spawn(file, args, { stdio: "ignore", env: { ...process.env, ...env } });
    const engine = new ReferenceEngine(`http://127.0.0.1:${port}`, child, folder);
    try {
      await vi.waitFor(async () => expect((await fetch(`${engine.url}/health`)).ok).toBe(true), { timeout: START_MS, interval: 500 });
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  /**
   * Starts one beside something else: a vLLM takes one core at a time to start.
   * Where one of the two fails the other is ended, and the error is thrown.
   */
  static async beside<T extends AsyncDisposable>(start: Promise<T>): Promise<[T, ReferenceEngine]> {
    const [other, alone] = await Promise.allSettled([start, ReferenceEngine.start()]);
    if (other.status === "fulfilled" && alone.status === "fulfilled") return [other.value, alone.value];
    if (other.status === "fulfilled") await other.value[Symbol.asyncDispose]();
    if (alone.status === "fulfilled") await alone.value.close();
    throw other.status === "rejected" ? other.reason : (alone as PromiseRejectedResult).reason;
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
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await exit;
    }
    await rm(this.#folder, { recursive: true, force: true });
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
