import { rmSync } from "node:fs";
import { readNote } from "../cluster/note.ts";
import { removeCluster } from "../cluster/providers.ts";
import { StackError } from "./errors.ts";
import { endLeftovers } from "./leftovers.ts";
import { isAlive, signalProcess } from "./process-id.ts";
import { dropRunFile, type RunFile, readRunFile } from "./run-file.ts";
import { createStateDir, type StateDir } from "./state-dir.ts";
import { span, until } from "./time.ts";

/** Longer than the graces of all parts one after the other. */
const STOP_WITHIN_MS = 60_000;
/** The same for a cluster: ModelAdapters, then manifests, are deleted where the cluster itself stays. */
const STOP_CLUSTER_WITHIN_MS = 330_000;

/**
 * Ends the stack of a state folder, and whatever a killed supervisor has left there. Returns a sentence for the user.
 *
 * @param log - told at once where it will take a while
 */
export async function stopStack(dir: StateDir, log: (line: string) => void = () => undefined): Promise<string> {
  const run = readRunFile(dir);
  const cluster = readNote(dir);
  if (run === undefined && cluster === undefined) return `No stack runs in ${dir.root}.`;
  const startedMs = performance.now();
  if (cluster !== undefined) log("stopping the cluster: seconds, or a minute on a busy machine ...");
  if (run !== undefined) await endSupervisor(run, dir, cluster === undefined ? STOP_WITHIN_MS : STOP_CLUSTER_WITHIN_MS);
  // The supervisor removes its cluster itself; one that was killed, or that could not, has left the note of it.
  await removeCluster(dir);
  const kept = cluster?.kind === "kubeconfig" ? " The cluster keeps what you applied to it yourself, such as base models." : "";
  return `Stopped after ${span(performance.now() - startedMs)}.${kept} Data and logs stay in ${dir.root}.`;
}

async function endSupervisor(run: RunFile, dir: StateDir, withinMs: number): Promise<void> {
  if (isAlive(run.supervisor)) {
    signalProcess(run.supervisor.pid, "SIGTERM");
    const ended = await until(() => !isAlive(run.supervisor), 20, AbortSignal.timeout(withinMs));
    if (!ended) signalProcess(run.supervisor.pid, "SIGKILL");
  }
  // The supervisor clears up itself; what is still recorded was left by one that could not.
  const rest = readRunFile(dir);
  if (rest !== undefined && !isAlive(rest.supervisor)) {
    createStateDir(dir);
    await endLeftovers(rest, dir.root);
    rmSync(dir.stackFile, { force: true });
    dropRunFile(dir, rest);
  } else if (rest !== undefined) {
    throw new StackError(
      `The supervisor (process ${rest.supervisor.pid}) does not end: kill it with kill -9 ${rest.supervisor.pid}, then stop again.`,
    );
  }
}
