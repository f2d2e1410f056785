import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

export const ROOT: string = join(import.meta.dirname, "../..");
/** The program behind `npm start`. */
export const MAIN: string = join(ROOT, "packages/devcluster/dist/main.js");

/** Engine that the stories run on. */
export const ENGINE: "mock" | "vllm" = engine(process.env.AIBRIX_E2E_ENGINE ?? "mock");

function engine(name: string): "mock" | "vllm" {
  if (name === "mock" || name === "vllm") return name;
  throw new Error(`AIBRIX_E2E_ENGINE=${name}: write mock or vllm`);
}

export interface CommandResult {
  readonly code: number | null;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

/** Runs a command to its end. It is killed when `timeoutMs` milliseconds have passed. */
export async function run(
  file: string,
  args: readonly string[],
  timeoutMs: number,
  env: Record<string, string> = {},
): Promise<CommandResult> {
  const child = spawn(file, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env }, timeout: timeoutMs });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { code, output };
}

/** Runs `start`, `stop` or `status` as npm's scripts do. */
export async function cli(args: readonly string[], timeoutMs = 120_000): Promise<CommandResult> {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is not there: npm run build`);
  return run(process.execPath, [MAIN, ...args], timeoutMs);
}
