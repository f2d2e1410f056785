import { removeCluster } from "../cluster/providers.ts";
import type { CommandTexts } from "./commands.ts";
import { StackError } from "./errors.ts";
import { endLeftovers } from "./leftovers.ts";
import { isAlive } from "./process-id.ts";
import { dropRunFile, RunRecord, takeRunFile } from "./run-file.ts";
import { readStackFile } from "./stack-file.ts";
import type { StateDir } from "./state-dir.ts";

/**
 * Takes a state folder for a new stack, after ending what a killed supervisor has left there.
 * @throws {@link StackError} where a stack runs in it already
 */
export async function takeFolder(dir: StateDir, commands: CommandTexts, say: (line: string) => void): Promise<RunRecord> {
  for (;;) {
    const taken = takeRunFile(dir);
    if (taken instanceof RunRecord) {
      await removeLeftCluster(dir, taken, say);
      return taken;
    }
    if (isAlive(taken.supervisor)) {
      const ready = readStackFile(dir);
      const what = ready === undefined ? "A stack is being started or stopped" : `A stack runs already, at ${ready.gateway},`;
      throw new StackError(
        `${what} in ${dir.root} (process ${taken.supervisor.pid}).\nSee it with: ${commands.status}\nEnd it with: ${commands.stop}\nOr start another one beside it with: npm start -- --dir ANOTHER_FOLDER`,
      );
    }
    const ended = await endLeftovers(taken, dir.root);
    if (ended.length > 0) say(`ended what a killed stack had left running: ${ended.join(", ")}`);
    dropRunFile(dir, taken);
  }
}

/** A cluster that a killed supervisor has left. The folder belongs to us already: nobody else removes it meanwhile. */
async function removeLeftCluster(dir: StateDir, record: RunRecord, say: (line: string) => void): Promise<void> {
  try {
    const kind = await removeCluster(dir);
    if (kind !== undefined) say(`removed what a killed stack had left of its cluster (${kind})`);
  } catch (error) {
    record.remove();
    throw error;
  }
}
