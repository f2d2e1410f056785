import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ensureVersitygw, type PartContext, vllmServeCommand } from "@aibrix/devcluster";
import { nodeFlags } from "../test/support/node-flags.ts";
import { end } from "./measured.ts";

const START_MS = 30_000;
const VLLM_START_MS = 300_000;
const PACKAGES = fileURLToPath(new URL("../../", import.meta.url));

/** Something that runs beside what is measured. */
export interface Server {
  readonly url: string;
  readonly pid: number | undefined;
  readonly close: () => Promise<void>;
}

export interface S3Server extends Server {
  /** As its clients find it in their environment. */
  readonly env: Readonly<Record<string, string>>;
  /** As a Secret holds it. */
  readonly secret: Readonly<Record<string, string>>;
}

/** versitygw over a folder, with a bucket `models`. */
export async function startS3(dir: string, context: PartContext): Promise<S3Server> {
  const { bin } = await ensureVersitygw(context);
  const port = await freePort();
  const [key, secretKey] = ["bench", "bench-secret-key"];
  for (const name of ["data/models", "iam"]) mkdirSync(join(dir, name), { recursive: true });
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(bin, ["--port", `127.0.0.1:${port}`, "--iam-dir", join(dir, "iam"), "--quiet", "posix", join(dir, "data")], {
    env: { PATH: process.env.PATH, ROOT_ACCESS_KEY: key, ROOT_SECRET_KEY: secretKey },
    stdio: "ignore",
  });
  await answers(url);
  return {
    url,
    pid: child.pid,
    env: { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secretKey, AWS_REGION: "us-east-1", AWS_ENDPOINT_URL: url, S3_ENDPOINT_URL: url },
    secret: { aws_access_key_id: key, aws_secret_access_key: secretKey, aws_endpoint_url: url },
    close: () => end(child),
  };
}

/** A Hub over a folder of repositories. */
export async function startHubProcess(root: string): Promise<Server> {
  const child = fork(fileURLToPath(new URL("hub-process.ts", import.meta.url)), [root], { execArgv: [] });
  const [url] = (await once(child, "message", { signal: AbortSignal.timeout(START_MS) })) as [string];
  const close = async () => {
    child.disconnect();
    await end(child);
  };
  return { url, pid: child.pid, close };
}

/** A mock engine, as it is built. */
export async function startMockEngine(model: string, args: readonly string[]): Promise<Server> {
  const flags = ["--model", model, "--served-model-name", "base", "--host", "127.0.0.1", "--port", "0", "--enable-lora"];
  return await startProgram("mock-engine", [...flags, "--max-loras", "2", "--max-cpu-loras", "64", ...args], {
    VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True",
  });
}

/** A real vLLM on the CPU over a tiny model. */
export async function startVllm(bin: string, modelDir: string): Promise<Server> {
  const port = await freePort();
  const { argv, env } = vllmServeCommand({ bin, modelDir, servedModelName: "base", port, maxCpuLoras: 8 });
  const [file, ...args] = argv;
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: "ignore" });
  const url = `http://127.0.0.1:${port}`;
  await answers(`${url}/health`, VLLM_START_MS);
  return { url, pid: child.pid, close: () => end(child) };
}

/** A runtime as it ships: what was built, with nothing set but what a pod sets. */
export async function startRuntime(dir: string, engine: string, env: NodeJS.ProcessEnv = {}): Promise<Server> {
  const flags = ["--port=0", "--host=127.0.0.1", `--artifacts-dir=${dir}`, "--allow-artifact-hosts=127.0.0.1"];
  return await startProgram("runtime", flags, { INFERENCE_ENGINE_ENDPOINT: engine, ...env });
}

async function startProgram(name: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Server> {
  const { PATH, HOME } = process.env;
  const main = join(PACKAGES, name, "dist/main.js");
  const child = spawn(process.execPath, [...nodeFlags(main), main, ...args], {
    env: { PATH, HOME, AWS_EC2_METADATA_DISABLED: "true", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { url: await listening(name, child), pid: child.pid, close: () => end(child) };
}

function listening(name: string, child: ChildProcess): Promise<string> {
  let output = "";
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error(`${name} does not listen:\n${output}`)), START_MS);
  child.once("exit", (code) => reject(new Error(`${name} ended with ${code}:\n${output}`)));
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-10_000);
      const found = /"address":"(http:[^"]*)".*"msg":"listening"|"msg":"listening","address":"(http:[^"]*)"/.exec(output);
      if (found !== null) resolve(found[1] ?? found[2] ?? "");
    });
  return promise.finally(() => clearTimeout(timer));
}

/** Waits until a server answers, whatever it says. */
async function answers(url: string, timeoutMs: number = START_MS): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs);
  for (;;) {
    const there = await fetch(url, { signal }).then(
      () => true,
      () => false,
    );
    if (there) return;
    signal.throwIfAborted();
    await setTimeoutPromise(50);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}
