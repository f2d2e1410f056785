import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import type { StandaloneFile } from "@aibrix/devcluster";

/** Whether a process of this number runs; one that waits to be collected by its parent does not. */
export function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return process.platform !== "linux";
  }
}

/** Whether somebody listens at an address. */
export function listens(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: 2_000 });
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
    socket.once("timeout", () => done(false));
  });
}

/** Every address that a stack listens on as far as it tells. */
export function addresses({ gateway, engines, hub, s3 }: StandaloneFile): readonly string[] {
  return [gateway, hub, ...engines.flatMap((e) => [e.url, e.runtime]), ...(s3 === undefined ? [] : [s3.endpoint])];
}

/** Command lines of all processes on the machine, as `ps` shows them. Linux only. */
export function commandLines(): readonly string[] {
  return everyPid().map((pid) => readProc(pid, "cmdline").replaceAll("\0", " "));
}

/** Processes that carry a variable of this value in their environment. Linux only. */
export function carriers(variable: string, value: string): readonly number[] {
  return everyPid().filter((pid) => runs(pid) && readProc(pid, "environ").split("\0").includes(`${variable}=${value}`));
}

function everyPid(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return ""; // It has ended meanwhile, or belongs to somebody else.
  }
}
