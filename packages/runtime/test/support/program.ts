import { type ChildProcess, spawn } from "node:child_process";
import { programFile } from "@aibrix/devcluster";
import { nodeFlags } from "./node-flags.ts";

/** Time for a program to listen, in milliseconds. */
const PROGRAM_MS = 30_000;
/** Time to end in after SIGTERM: within it a program is not killed, so that its exit code tells that it made it. */
const STOP_MS = 5_000;

/** A program of this workspace that runs. */
export interface Program {
  readonly url: string;
  readonly pid: number;
  /** Everything that it has written so far, to either stream. */
  readonly output: () => string;
  /** Asks it to end, and waits until it has. @returns its exit code */
  readonly stop: () => Promise<number | null>;
  readonly kill: () => Promise<void>;
}

const running = new Set<Program>();

/**
 * Starts a program of this workspace, and waits until it says where it listens.
 *
 * @param wrapper - a command that runs what comes after it, in its own place
 */
export async function startProgram(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  wrapper: readonly string[] = [],
): Promise<Program> {
  const { child, output } = spawnProgram(name, args, env, wrapper);
  const address = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} does not listen:\n${output()}`)), PROGRAM_MS);
    const look = () => {
      const found = /"address":"(http:[^"]*)".*"msg":"listening"|"msg":"listening","address":"(http:[^"]*)"/.exec(output());
      if (found === null) return;
      clearTimeout(timer);
      resolve((found[1] ?? found[2] ?? "").replace(/0\.0\.0\.0|\[::\]/, "127.0.0.1"));
    };
    child.stdout?.on("data", look);
    child.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`${name} ended with ${code}:\n${output()}`));
    });
  });
  const ended = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    const code = await exit;
    clearTimeout(timer);
    running.delete(program);
    return code;
  };
  const program: Program = {
    url: address,
    pid: child.pid ?? 0,
    output,
    stop: () => ended("SIGTERM"),
    kill: async () => void (await ended("SIGKILL")),
  };
  running.add(program);
  return program;
}

/**
 * Runs a program to its end.
 *
 * @param wrapper - a command that runs what comes after it
 */
export async function runProgram(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  wrapper: readonly string[] = [],
): Promise<{ readonly code: number | null; readonly output: string }> {
  const { child, output } = spawnProgram(name, args, env, wrapper);
  const timer = setTimeout(() => child.kill("SIGKILL"), PROGRAM_MS);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  return { code, output: output() };
}

/** Ends whatever a test left running. */
export async function stopPrograms(): Promise<void> {
  await Promise.all([...running].map((p) => p.kill()));
}

function spawnProgram(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  wrapper: readonly string[] = [],
): { child: ChildProcess; output: () => string } {
  // Nothing of the tester's own settings: a token or an endpoint of theirs would decide what a test sees.
  const { PATH, HOME, TMPDIR } = process.env;
  const [command = process.execPath, ...before] = [...wrapper, process.execPath];
  const main = programFile(name);
  const child = spawn(command, [...before, ...nodeFlags(main), main, ...args], {
    env: { PATH, HOME, ...(TMPDIR === undefined ? {} : { TMPDIR }), AWS_EC2_METADATA_DISABLED: "true", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  return { child, output: () => text };
}
