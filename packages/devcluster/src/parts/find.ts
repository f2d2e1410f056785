import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { PartError } from "./part-context.ts";

/** The first program of this name on PATH. */
export async function findOnPath(name: string): Promise<string | undefined> {
  return findInFolders(name, (process.env.PATH ?? "").split(delimiter));
}

/** The first program of this name in some folders. */
export async function findInFolders(name: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    const path = join(folder, name);
    if (folder !== "" && (await isProgram(path))) return path;
  }
  return undefined;
}

/**
 * The program that an environment variable names, or undefined where the variable is not set.
 * @throws PartError when it names something that cannot be run: a wrong path is never passed over in silence.
 */
export async function findByEnv(variable: string): Promise<string | undefined> {
  const path = process.env[variable];
  if (path === undefined || path === "") return undefined;
  if (await isProgram(path)) return path;
  throw new PartError(`${variable} names ${path}, which is no program that can be run: correct it or unset it`);
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
