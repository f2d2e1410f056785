import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { until } from "./time.ts";

/** A process that cannot be mistaken for another one that later got the same number. */
export interface ProcessId {
  readonly pid: number;
  /** Opaque; two processes of one number differ in it. */
  readonly startTime: string;
}

interface ProcessInfo extends ProcessId {
  /** Number of the process group. */
  readonly group: number;
  readonly zombie: boolean;
}

/** Names the process that has this number now, or `undefined` where there is none. */
export function identify(pid: number): ProcessId | undefined {
  const info = inspect(pid);
  return info === undefined || info.zombie ? undefined : { pid, startTime: info.startTime };
}

/** Whether this very process still runs. One that has ended but was not yet collected by its parent does not. */
export function isAlive(id: ProcessId): boolean {
  return identify(id.pid)?.startTime === id.startTime;
}

/** Numbers of the processes that still run in a group. */
export function groupMembers(group: number): readonly number[] {
  return everyProcess()
    .filter((p) => p.group === group && !p.zombie)
    .map((p) => p.pid);
}

/** Sends a signal to one process; one that is gone is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  ignoreGone(() => process.kill(pid, signal));
}

/** Sends a signal to a whole process group; one that is gone is no error. */
export function signalGroup(group: number, signal: NodeJS.Signals): void {
  ignoreGone(() => process.kill(-group, signal));
}

/** Kills what is left of a group and waits until it is gone; `false` where something is still there after `withinMs` milliseconds. */
export async function killGroup(group: number, withinMs: number): Promise<boolean> {
  if (groupMembers(group).length === 0) return true;
  signalGroup(group, "SIGKILL");
  return until(() => groupMembers(group).length === 0, 20, AbortSignal.timeout(withinMs));
}

/** An environment variable of a running process, as it was at its start. Linux only: `undefined` elsewhere. */
export function environmentOf(pid: number, name: string): string | undefined {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    return entries.find((e) => e.startsWith(`${name}=`))?.slice(name.length + 1);
  } catch {
    return undefined;
  }
}

function ignoreGone(send: () => void): void {
  try {
    send();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function inspect(pid: number): ProcessInfo | undefined {
  if (process.platform === "linux") return readProc(pid);
  return readPs(["-p", String(pid)])[0];
}

function everyProcess(): readonly ProcessInfo[] {
  if (process.platform !== "linux") return readPs(["-A"]);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProc(Number(name)))
    .filter((p) => p !== undefined);
}

/** Fields of proc(5)'s stat; the command's name in parentheses may itself hold blanks and parentheses. */
function readProc(pid: number): ProcessInfo | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, group: Number(fields[2]), startTime: fields[19] ?? "", zombie: fields[0] === "Z" || fields[0] === "X" };
  } catch {
    return undefined;
  }
}

function readPs(selection: readonly string[]): readonly ProcessInfo[] {
  let text: string;
  try {
    text = execFileSync("ps", [...selection, "-o", "pid=,pgid=,state=,lstart="], {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C" },
    });
  } catch {
    return []; // ps exits with 1 where nothing was found.
  }
  return text
    .split("\n")
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line))
    .filter((m) => m !== null)
    .map(([, pid, group, state, startTime]) => ({
      pid: Number(pid),
      group: Number(group),
      startTime: startTime ?? "",
      zombie: state?.startsWith("Z") === true,
    }));
}
