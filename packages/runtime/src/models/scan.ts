import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { type ModelManifest, missingFile, readModelManifest } from "./manifest.ts";

/** Folders deep that models are looked for below --models-dir, and folders in all: somebody may have mounted anything there. */
const MAX_DEPTH = 4;
const MAX_FOLDERS = 2_000;

/** A model that was once whole. */
export interface ModelFolder {
  readonly path: string;
  readonly name: string;
  readonly manifest: ModelManifest;
  /** A file that is not there any more as it was. */
  readonly missing: string | undefined;
}

/** Every model below a folder, by path. What cannot be read is left out. */
export async function modelsIn(root: string): Promise<readonly ModelFolder[]> {
  const found: ModelFolder[] = [];
  let folders = [root];
  let looked = 0;
  for (let depth = 0; depth <= MAX_DEPTH && folders.length > 0; depth += 1) {
    const next: string[] = [];
    for (const path of folders) {
      looked += 1;
      if (looked > MAX_FOLDERS) break;
      const manifest = depth === 0 ? undefined : await readModelManifest(path);
      if (manifest !== undefined) {
        found.push({ path, name: basename(path), manifest, missing: await missingFile(path, manifest) });
        continue;
      }
      const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
      next.push(...entries.filter((e) => e.isDirectory() && !e.name.startsWith(".")).map((e) => join(path, e.name)));
    }
    folders = next;
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}
