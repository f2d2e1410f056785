import { readFile } from "node:fs/promises";

/**
 * The runtime's token, as its `--token-file` holds it now: a mounted Secret changes.
 *
 * @returns an empty text where the file has none, or cannot be read, with the error
 */
export async function readToken(file: string): Promise<{ readonly token: string; readonly error?: unknown }> {
  try {
    return { token: (await readFile(file, "utf8")).trim() };
  } catch (error) {
    return { token: "", error };
  }
}
