import { spawn } from "node:child_process";
import { PartError } from "./part-context.ts";

/** A command that fetches, builds or asks for something. */
export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly cwd?: string;
  /** Added to this process's environment; an undefined value removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs?: number;
  /** How many of its last lines an error shows, 25 by default. */
  readonly tailLines?: number;
}

/** A command that ended with another status than 0. */
export class CommandError extends PartError {
  /** The last lines of what the command wrote. */
  readonly tail: string;

  constructor(message: string, tail: string) {
    super(tail === "" ? message : `${message}\n${tail}`);
    this.tail = tail;
  }
}

const DEFAULT_TIMEOUT_MS = 30 * 60_000;
const TAIL_LINES = 25;

/**
 * Runs a command to its end and gives what it wrote to stdout.
 * The command gets a process group of its own, which is killed whole when the signal aborts or the time is up.
 * @throws CommandError with the end of its output when it fails; PartError when it cannot be started.
 */
export async function run(command: Command, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const [file, ...args] = command.argv;
  const { timeoutMs = DEFAULT_TIMEOUT_MS, tailLines = TAIL_LINES } = command;
  const child = spawn(file, args, {
    cwd: command.cwd,
    env: { ...process.env, ...command.env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const stdout: Buffer[] = [];
  const all: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout.push(chunk);
    all.push(chunk);
  });
  child.stderr.on("data", (chunk: Buffer) => all.push(chunk));
  const ended = Promise.withResolvers<number | NodeJS.Signals>();
  child.once("error", (error) => ended.reject(new PartError(`cannot start ${file}: ${error.message}`)));
  child.once("close", (code, killedBy) => ended.resolve(code ?? killedBy ?? "SIGKILL"));
  const stop = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const killGroup = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  };
  stop.addEventListener("abort", killGroup, { once: true });
  try {
    const result = await ended.promise;
    signal.throwIfAborted();
    if (stop.aborted) throw new CommandError(`${command.argv.join(" ")} took longer than ${timeoutMs / 1000} s`, tailOf(all, tailLines));
    if (result !== 0) throw new CommandError(`${command.argv.join(" ")} ended with ${result}`, tailOf(all, tailLines));
    return Buffer.concat(stdout).toString("utf8");
  } finally {
    stop.removeEventListener("abort", killGroup);
  }
}

/** Like {@link run}, for a question whose failure is an answer too: undefined when the command is missing or fails. */
export async function ask(argv: readonly [string, ...string[]], signal: AbortSignal, timeoutMs = 60_000): Promise<string | undefined> {
  try {
    return await run({ argv, timeoutMs }, signal);
  } catch (error) {
    if (error instanceof PartError) return undefined;
    throw error;
  }
}

function tailOf(chunks: readonly Buffer[], count: number): string {
  const lines = Buffer.concat(chunks)
    .toString("utf8")
    .split("\n")
    .filter((line) => line.trim() !== "");
  return lines.slice(-count).join("\n");
}
