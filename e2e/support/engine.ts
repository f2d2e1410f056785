import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { vi } from "vitest";
import { ROOT } from "./cli.ts";
import { BASE_MODEL } from "./manifest.ts";

/** An engine of the user's own: a process that no stack has started. */
export class OwnEngine {
  readonly url: string;
  readonly #port: number;
  #child: ChildProcess | undefined;

  constructor(port: number) {
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Starts a mock engine. @param baseModelDir - of a tiny base model, @param env - `VLLM_ALLOW_RUNTIME_LORA_UPDATING` is not set by itself */
  start(baseModelDir: string, env: Record<string, string>, args: readonly string[] = []): void {
    const main = join(ROOT, "packages/mock-engine/dist/main.js");
    const flags = ["--model", baseModelDir, "--served-model-name", BASE_MODEL, "--host", "127.0.0.1", "--port", String(this.#port)];
    this.#child = spawn(process.execPath, [main, ...flags, "--enable-lora", "--max-loras=2", "--max-lora-rank=8", ...args], {
      stdio: "ignore",
      env: { ...process.env, VLLM_ALLOW_RUNTIME_LORA_UPDATING: "", ...env },
    });
  }

  async healthy(): Promise<void> {
    await vi.waitFor(
      async () => {
        if (!(await fetch(`${this.url}/health`)).ok) throw new Error(`the engine at ${this.url} is not healthy`);
      },
      { timeout: 30_000, interval: 50 },
    );
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }
}

/** An engine that is not started yet, at a port that is free. */
export async function ownEngine(): Promise<OwnEngine> {
  return new OwnEngine(await freePort());
}

/** A port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  for (;;) {
    // Below what systems give to outgoing connections (32768 and up): one of those could have it before the program that it is for.
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
