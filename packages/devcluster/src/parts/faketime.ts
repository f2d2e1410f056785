import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { unpackDebian } from "./debian.ts";
import { type PartContext, PartError } from "./part-context.ts";
import { run } from "./run.ts";

/** Where the library is that shows a program another time. */
export interface FaketimePaths {
  /** For `LD_PRELOAD`. */
  readonly lib: string;
}

/**
 * libfaketime, for tests of clocks that jump: AIBRIX_FAKETIME_LIB, else Debian's, unpacked and not installed.
 * @throws PartError naming what is missing.
 */
export async function ensureFaketime(context: PartContext): Promise<FaketimePaths> {
  // A library need not be a program that can be run.
  const chosen = process.env.AIBRIX_FAKETIME_LIB;
  if (chosen !== undefined && chosen !== "") return { lib: chosen };
  try {
    const dir = await ensureCached({ name: "faketime", version: "debian", recipe: 1 }, context, async (target) => {
      await unpackDebian("libfaketime", target, context);
      // Debian's folder has the machine's kind in its name.
      await run({ argv: ["sh", "-c", "ln -s usr/lib/*/faketime/libfaketime.so.1 ."], cwd: target }, context.signal);
    });
    return { lib: join(dir, "libfaketime.so.1") };
  } catch (error) {
    if (!(error instanceof PartError)) throw error;
    throw new PartError(`libfaketime cannot be had: ${error.message}. Set AIBRIX_FAKETIME_LIB to the file of one of your own.`);
  }
}
