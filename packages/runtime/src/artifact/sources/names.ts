import { AdapterError } from "../../errors.ts";
import type { RemoteFile } from "./source.ts";

/** Longest path of a file inside an artifact, in bytes: what is above it has to fit, too. */
const MAX_PATH_BYTES = 1_024;
const MAX_SEGMENT_BYTES = 255;

/**
 * Whether a name can be a file's path below a folder, and leads nowhere else: no empty part, none that walks, nothing that another system
 * reads as a separator, no control characters.
 */
export function isSafePath(name: string): boolean {
  if (name === "" || !name.isWellFormed() || Buffer.byteLength(name) > MAX_PATH_BYTES) return false;
  return name.split("/").every((part) => {
    if (part === "" || part === "." || part === ".." || Buffer.byteLength(part) > MAX_SEGMENT_BYTES) return false;
    return ![...part].some((c) => c === "\\" || c <= "\u001f" || c === "\u007f");
  });
}

/**
 * Sees that files of a listing with folders can all be files below one folder here.
 *
 * @param what - the artifact's URL, for messages
 * @throws AdapterError `ArtifactInvalid` for a name that cannot be here
 */
export function checkPaths(files: readonly Pick<RemoteFile, "name">[], what: string): void {
  const names = new Set<string>();
  const folders = new Map<string, string>();
  for (const { name } of files) {
    if (!isSafePath(name))
      throw invalid(`${what} has a file whose name cannot be a path here (${JSON.stringify(name.slice(0, 200))}): rename it there`);
    names.add(name);
    for (let at = name.indexOf("/"); at !== -1; at = name.indexOf("/", at + 1)) folders.set(name.slice(0, at), name);
  }
  for (const [folder, name] of folders)
    if (names.has(folder))
      throw invalid(`${what} has both a file ${folder} and ${name}, which cannot both be files here: rename one there`);
}

function invalid(message: string): AdapterError {
  return new AdapterError("ArtifactInvalid", message);
}
