import { spawn } from "node:child_process";
import { programFile } from "@aibrix/devcluster";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `aibrix_download` while it runs. */
export interface Downloader {
  readonly ended: Promise<Ended>;
  readonly stderr: () => string;
  readonly signal: (name: NodeJS.Signals) => void;
}

const running = new Set<Downloader>();

/** Starts `aibrix_download` with nothing of the tester's environment. */
export function startDownload(args: readonly string[], env: NodeJS.ProcessEnv = {}): Downloader {
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [programFile("runtime", "download"), ...args], {
    env: { PATH, HOME, AWS_EC2_METADATA_DISABLED: "true", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  const ended = new Promise<Ended>((resolve) =>
    child.once("close", (code) => {
      running.delete(downloader);
      resolve({ code, stdout, stderr });
    }),
  );
  const downloader: Downloader = { ended, stderr: () => stderr, signal: (name) => void child.kill(name) };
  running.add(downloader);
  return downloader;
}

export async function download(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return await startDownload(args, env).ended;
}

/** Ends whatever a test left running. */
export async function stopDownloads(): Promise<void> {
  for (const one of [...running]) {
    one.signal("SIGKILL");
    await one.ended;
  }
}
