import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { programFile } from "@aibrix/devcluster";

const STOP_MS = 10_000;

/** A running program. */
export interface Program {
  /** Everything that it wrote so far. */
  readonly output: () => string;
  /** Asks it to end, and kills it where it does not. @returns its exit code; null where a signal ended it */
  readonly stop: () => Promise<number | null>;
  /** Waits until it ends by itself. */
  readonly ended: Promise<number | null>;
}

/** Starts the program; nothing of the tester's own settings reaches it. */
export function devServices(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  return start(process.execPath, [programFile("dev-services"), ...args], { AWS_EC2_METADATA_DISABLED: "true", ...env });
}

/** Starts a program. */
export function start(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Program {
  const { PATH = "" } = process.env;
  const child: ChildProcess = spawn(command, args, { env: { PATH, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  const ended = once(child, "close").then(([code]) => code as number | null);
  return {
    output: () => text,
    ended,
    stop: async () => {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      const code = await ended;
      clearTimeout(timer);
      return code;
    },
  };
}

/** A port of 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Status of a GET; 0 while nobody answers. */
export async function statusOf(url: string): Promise<number> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    await answer.body?.cancel();
    return answer.status;
  } catch {
    return 0;
  }
}
