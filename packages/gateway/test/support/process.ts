import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { until } from "./wait.ts";

/** A program that a test has started. */
export interface Program {
  readonly child: ChildProcess;
  /** Everything that it wrote. */
  readonly output: () => string;
  /** Sends SIGTERM, and SIGKILL after a while; gives the exit code (null where a signal ended it). */
  readonly stop: () => Promise<number | null>;
}

/** Starts a program and waits until `isUp` is true. It fails with the program's output where that does not happen. */
export async function startProgram(
  command: string,
  args: readonly string[],
  isUp: (output: string) => Promise<boolean> | boolean,
  env: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, "exit");
  const program: Program = {
    child,
    output: () => output,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
        await exited;
        clearTimeout(timer);
      }
      return child.exitCode;
    },
  };
  try {
    await until(`${command} is up`, async () => {
      if (child.exitCode !== null) throw new Error(`it exited with ${child.exitCode}`);
      return await isUp(output);
    });
  } catch (error) {
    await program.stop();
    throw new Error(`${(error as Error).message}\n${output.slice(-4_000)}`);
  }
  return program;
}
