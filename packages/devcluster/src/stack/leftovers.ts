import { environmentOf, groupMembers, identify, isAlive, killGroup, signalProcess } from "./process-id.ts";
import type { RunFile, RunPart } from "./run-file.ts";
import { until } from "./time.ts";

/** Environment variable that every part carries: the state folder of its stack. */
export const STACK_DIR_VARIABLE = "AIBRIX_STACK_DIR";

const GRACE_MS = 5_000;
const KILL_MS = 5_000;

/**
 * Ends the parts that a supervisor left behind when it was killed.
 * A process is touched only where its number and its start time are those recorded, or, where the part itself is gone, where the rest of its
 * group carries this stack's folder in the environment.
 *
 * @returns names of the parts that were still there
 */
export async function endLeftovers(run: RunFile, dirRoot: string): Promise<readonly string[]> {
  const left = Object.entries(run.parts).filter(([, part]) => isOurs(part, dirRoot));
  await Promise.all(left.map(([, part]) => end(part)));
  return left.map(([name]) => name);
}

function isOurs(part: RunPart, dirRoot: string): boolean {
  if (isAlive(part)) return true;
  if (identify(part.pid) !== undefined) return false; // Another process has got the number.
  const rest = groupMembers(part.pid);
  return rest.length > 0 && rest.every((pid) => environmentOf(pid, STACK_DIR_VARIABLE) === dirRoot);
}

async function end(part: RunPart): Promise<void> {
  if (isAlive(part)) {
    signalProcess(part.pid, "SIGTERM");
    await until(() => !isAlive(part), 20, AbortSignal.timeout(GRACE_MS));
  }
  await killGroup(part.pid, KILL_MS);
}
