import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

/** A running engine. */
export interface EngineProcess {
  readonly url: string;
  /** Its code, or null when a signal ended it, once it has ended. */
  readonly ended: Promise<number | null>;
  /** Asks it to end and waits until it has. */
  stop(): Promise<void>;
  signal(name: NodeJS.Signals): void;
}

/** Flags, environment and folder of an engine, the same for every target. */
interface StartOptions {
  /** Directory of the base model. */
  readonly model: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where relative paths of adapters start. */
  readonly cwd: string;
  /** Time for a token, in milliseconds, on an engine that would need none: a stream has to last while something else happens. */
  readonly paceMs: number;
}

/** An implementation of vLLM's HTTP surface. */
export interface ContractTarget {
  readonly name: "mock" | "vllm";
  start(options: StartOptions): Promise<EngineProcess>;
  /** What in a text tells which weights made it, whatever the model was called. */
  voice(text: string): string;
}

/** A port that was free a moment ago: vLLM does not take 0. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly port: number;
  readonly readyTimeoutMs: number;
  readonly stopTimeoutMs: number;
}

/** Starts a program and waits until its /health answers 200. Its output is part of the error when it does not. */
export async function launch(options: Launch): Promise<EngineProcess> {
  const child = spawn(options.command, options.args, { cwd: options.cwd, env: options.env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (output = (output + chunk.toString()).slice(-20_000)));
  const ended = once(child, "exit").then(([code]) => code as number | null);
  const url = `http://127.0.0.1:${options.port}`;
  const stop = () => stopChild(child, ended, options.stopTimeoutMs);
  const deadline = Date.now() + options.readyTimeoutMs;
  while (!(await isHealthy(url))) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the engine ended before it was ready:\n${output}`);
    if (Date.now() > deadline) {
      await stop();
      throw new Error(`the engine was not ready after ${options.readyTimeoutMs} ms:\n${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { url, ended, stop, signal: (name) => void child.kill(name) };
}

async function isHealthy(url: string): Promise<boolean> {
  return await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) }).then(
    (response) => response.ok,
    () => false,
  );
}

async function stopChild(child: ChildProcess, ended: Promise<number | null>, timeoutMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  await ended;
  clearTimeout(timer);
}
