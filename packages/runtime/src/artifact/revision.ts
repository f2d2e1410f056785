import { createHash } from "node:crypto";
import { FILES_REVISION } from "@aibrix/api";
import type { RemoteFile } from "./sources/source.ts";

/** Of the 64 of a hash: two versions of one file are told apart, and what comes is compared with the content's digest in any case. */
const HEX_DIGITS = 8;
/** As long as a revision may be, with room to spare. */
const MAX_FILES = 27;

/**
 * Names the content that a bucket has at this moment, as a commit does where there are commits: one hash for each file, over its name, its size
 * and what the bucket says of its version (ETag or generation). By it the same versions are found again after the files were overwritten.
 *
 * @returns `files:` and the hashes; `undefined` where the bucket says nothing of a version, or for more files than an adapter has
 */
export function filesRevision(files: readonly RemoteFile[]): string | undefined {
  if (files.length === 0 || files.length > MAX_FILES || files.some((f) => f.etag === "")) return undefined;
  return FILES_REVISION + files.map(hashOf).sort().join(",");
}

/** Whether a revision is one of {@link filesRevision}. */
export function isFilesRevision(revision: string | undefined): revision is string {
  return revision?.startsWith(FILES_REVISION) === true;
}

/**
 * The files that a revision was made of, out of all versions that a bucket keeps.
 *
 * @returns `undefined` where one of them is gone
 */
export function filesAt(revision: string, versions: readonly RemoteFile[]): readonly RemoteFile[] | undefined {
  const wanted = new Set(revision.slice(FILES_REVISION.length).split(","));
  const found = new Map<string, RemoteFile>();
  for (const file of versions) {
    const hash = hashOf(file);
    // The same bytes may have been uploaded twice.
    if (wanted.has(hash) && !found.has(hash)) found.set(hash, file);
  }
  return found.size === wanted.size ? [...found.values()] : undefined;
}

function hashOf({ name, sizeBytes, etag }: RemoteFile): string {
  return createHash("sha256")
    .update(JSON.stringify([name, sizeBytes, etag]))
    .digest("hex")
    .slice(0, HEX_DIGITS);
}
