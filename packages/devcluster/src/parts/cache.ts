import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { withLock } from "./lock.ts";
import type { PartContext } from "./part-context.ts";

/** One thing in the cache folder. */
export interface CachedPart {
  readonly name: string;
  readonly version: string;
  /** Counts up when the way it is built changes, so that what an older way built is built anew. */
  readonly recipe: number;
}

/** Written last: a folder without it is a build that did not end. */
const MARKER = ".complete.json";

/** The folder that keeps what was fetched and built: AIBRIX_CACHE_DIR, else `aibrix-lora` in the user's cache folder. */
export function cacheRoot(env: Readonly<Record<string, string | undefined>> = process.env): string {
  if (env.AIBRIX_CACHE_DIR) return env.AIBRIX_CACHE_DIR;
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "aibrix-lora");
}

/**
 * The folder of a part, built by `build` (which gets that folder, empty) unless it is complete already.
 * Two processes never build the same part at once; a build that failed or was interrupted is done anew.
 */
export async function ensureCached(part: CachedPart, context: PartContext, build: (dir: string) => Promise<void>): Promise<string> {
  const root = context.cacheDir ?? cacheRoot();
  const dir = join(root, `${part.name}-${part.version}`);
  if (await isComplete(dir, part)) return dir;
  const lock = { what: `the build of ${part.name} ${part.version}`, log: context.log, signal: context.signal };
  return withLock(join(root, "locks", `${part.name}-${part.version}.lock`), lock, async () => {
    if (await isComplete(dir, part)) return dir;
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { recursive: true });
    try {
      await build(dir);
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
    await writeFile(join(dir, `${MARKER}.new`), JSON.stringify(part));
    await rename(join(dir, `${MARKER}.new`), join(dir, MARKER));
    return dir;
  });
}

async function isComplete(dir: string, part: CachedPart): Promise<boolean> {
  try {
    const marker = JSON.parse(await readFile(join(dir, MARKER), "utf8"));
    return marker.version === part.version && marker.recipe === part.recipe;
  } catch {
    return false;
  }
}
