import { sleep } from "@aibrix/service";
import type { AdapterManager } from "./manager.ts";

/** How often the files of each adapter are looked at, in milliseconds. */
const ROUND_MS = 30_000;
/** At least so long between two adapters: many of them must not read the volume without end. */
const LEAST_MS = 50;

/**
 * Looks whether the files of adapters that serve are still there, one after the other: an engine reads them again when it had to make room in
 * its memory, and ends when they are gone.
 */
export async function watchFiles(manager: Pick<AdapterManager, "names" | "checkFiles">, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const names = manager.names();
    if (names.length === 0) await sleep(ROUND_MS, signal);
    for (const name of names) {
      if (!(await sleep(Math.max(LEAST_MS, ROUND_MS / names.length), signal))) return;
      await manager.checkFiles(name);
    }
  }
}
