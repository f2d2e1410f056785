import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { STACK_DIR_VARIABLE } from "../../stack/leftovers.ts";
import { environmentOf, identify, isAlive, type ProcessId, signalProcess } from "../../stack/process-id.ts";
import { until } from "../../stack/time.ts";

const KILL_WITHIN_MS = 20_000;

/** The process that the holder's file names, where it still runs. */
export function readHolder(file: string): ProcessId | undefined {
  try {
    const [pid, startTime = ""] = readFileSync(file, "utf8").trim().split(" ");
    const holder = { pid: Number(pid), startTime };
    return isAlive(holder) ? holder : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Kills all that the stack of this state folder has started: whatever carries the folder in its environment, and whatever runs in
 * namespaces whose first process does. Pods' own namespaces lie within these: the kernel ends them with the first process.
 *
 * @returns numbers of processes that are still there
 */
export async function killNode(dirRoot: string, signal: AbortSignal): Promise<readonly number[]> {
  const own = namespaceOf(process.pid);
  const seen = new Map<number, ProcessId>();
  const left = () => [...seen.values()].filter(isAlive).map((p) => p.pid);
  const seek = () => {
    const found = processes().map((pid) => ({ pid, namespace: namespaceOf(pid) }));
    const ours = found.filter(({ pid }) => pid !== process.pid && environmentOf(pid, STACK_DIR_VARIABLE) === dirRoot);
    // A container that somebody runs may hold a stack in a folder of the same name: its first process is not one of ours.
    const firsts = ours.filter((p) => p.namespace !== own && isFirstOfNamespace(p.pid));
    const namespaces = new Set(firsts.map((p) => p.namespace));
    const inside = found.filter((p) => p.namespace !== undefined && namespaces.has(p.namespace));
    for (const { pid } of [...ours.filter((p) => p.namespace === own), ...inside]) {
      const id = identify(pid);
      if (id !== undefined) seen.set(pid, id);
    }
    return left();
  };
  await until(
    () => {
      const pids = seek();
      for (const pid of pids) signalProcess(pid, "SIGKILL");
      return pids.length === 0;
    },
    50,
    AbortSignal.any([signal, AbortSignal.timeout(KILL_WITHIN_MS)]),
  );
  return left();
}

function processes(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Undefined for one that has ended. */
function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

function isFirstOfNamespace(pid: number): boolean {
  try {
    return /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
