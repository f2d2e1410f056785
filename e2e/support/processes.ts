import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout } from "node:timers/promises";
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

/**
 * Waits until a server that is killed has no connection left. It holds them until its last thread is gone and its memory is freed, which takes some 100 ms where that is much;
 * its main thread is a zombie long before, and what is sent meanwhile is taken and never answered.
 * Call it before the kill: elsewhere than on Linux it goes by one connection that the server has accepted.
 */
export async function connectionsEnd(url: string): Promise<(signal: AbortSignal) => Promise<void>> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const closed = new Promise<void>((resolve) => {
    for (const event of ["error", "end", "close"]) socket.on(event, () => resolve());
  });
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  await once(socket, "data");
  socket.resume();
  return async (signal) => {
    const late = once(signal, "abort").then(() => Promise.reject(signal.reason));
    await Promise.race([closed, late]).finally(() => socket.destroy());
    while (isConnected(Number(port))) await setTimeout(1, undefined, { signal });
  };
}

/** Whether a connection of a server's is established, by the kernel's table (proc_net_tcp(5): the local address in hexadecimal, 01 = ESTABLISHED). */
function isConnected(port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return ["tcp", "tcp6"].some((table) =>
    (process.platform === "linux" ? readFileSync(`/proc/net/${table}`, "utf8") : "").split("\n").some((line) => {
      const [, from, , state] = line.trim().split(/\s+/);
      return from?.endsWith(local) && state === "01";
    }),
  );
}

/** Every address that a stack listens on as far as it tells. */
export function addresses({ gateway, engines, hub, s3 }: StandaloneFile): readonly string[] {
  return [gateway, hub, ...engines.flatMap((e) => [e.url, e.runtime]), ...(s3 === undefined ? [] : [s3.endpoint])];
}

/** Command lines of all processes on the machine, as `ps` shows them. Linux only. */
export function commandLines(): readonly string[] {
  return everyPid().map(commandOf);
}

/** The command line of a process; empty where it has ended. Linux only. */
export function commandOf(pid: number): string {
  return readProc(pid, "cmdline").replaceAll("\0", " ");
}

/** Processes that carry a variable of this value in their environment. Linux only. */
export function carriers(variable: string, value: string): readonly number[] {
  return everyPid().filter((pid) => runs(pid) && readProc(pid, "environ").split("\0").includes(`${variable}=${value}`));
}

/** Numbers of all processes on the machine. Linux only. */
export function everyPid(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** A file of a process in /proc; empty where it has ended, or belongs to somebody else. Linux only. */
export function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
