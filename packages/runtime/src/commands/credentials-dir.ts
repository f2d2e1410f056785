import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { SECRET_KEYS } from "@aibrix/api";
import { ConfigError } from "@aibrix/service";
import { knownKeys } from "../artifact/sources/credentials.ts";
import type { Credentials } from "../artifact/sources/source.ts";
import { messageOf } from "../errors.ts";

/** More than any key of ours. */
const MAX_BYTES = 256 * 1024;

/**
 * Reads credentials from the folder of a mounted Secret: a file for each key.
 *
 * @throws ConfigError where the folder cannot be read, or has none of the keys
 */
export async function readCredentialsDir(dir: string | undefined): Promise<Credentials> {
  if (dir === undefined) return {};
  const data: Record<string, string> = {};
  try {
    // With a dot in front are the folders that Kubernetes keeps there for itself.
    for (const name of (await readdir(dir)).filter((n) => !n.startsWith("."))) {
      const path = join(dir, name);
      const info = await stat(path);
      if (info.isFile() && info.size <= MAX_BYTES) data[name] = (await readFile(path, "utf8")).trim();
    }
  } catch (error) {
    throw new ConfigError(`--credentials-dir=${dir}: cannot be read (${messageOf(error)}): mount the Secret there`);
  }
  const keys = knownKeys(data);
  if (Object.keys(keys).length === 0)
    throw new ConfigError(
      `--credentials-dir=${dir}: has none of the files ${Object.values(SECRET_KEYS).join(", ")}: mount a Secret with some`,
    );
  return keys;
}
