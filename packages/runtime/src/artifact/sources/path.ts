import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { AdapterError } from "../../errors.ts";
import type { Downloaded } from "../transfer/download.ts";
import type { RemoteFile } from "./source.ts";

/**
 * Files at the top of a folder that is mounted into the pod.
 *
 * @throws AdapterError `ArtifactNotFound`, `ArtifactDenied`
 */
export async function listFolder(path: string): Promise<readonly RemoteFile[]> {
  try {
    if (!(await stat(path)).isDirectory())
      throw new AdapterError("ArtifactNotFound", `${path} is a file: write the folder that the adapter's files are in`);
    const found = (await readdir(path)).map(async (name): Promise<readonly RemoteFile[]> => {
      // A link to nothing is no file; one that is gone since is none either.
      const info = await stat(join(path, name), { bigint: true }).catch(unlessGone);
      return info?.isFile() ? [{ name, sizeBytes: Number(info.size), etag: `${info.mtimeNs}-${info.ino}` }] : [];
    });
    return (await Promise.all(found)).flat();
  } catch (error) {
    throw readError(path, error);
  }
}

/** What is read at a time. */
const READ_BYTES = 2 ** 20;

/** Hashes files where they are. */
export async function hashFiles(path: string, files: readonly RemoteFile[], signal: AbortSignal): Promise<readonly Downloaded[]> {
  const hashed: Downloaded[] = [];
  for (const { name, sizeBytes } of files) {
    const hash = createHash("sha256");
    try {
      // A stream takes longer to open than a small file to read.
      if (sizeBytes <= READ_BYTES) hash.update(await readFile(join(path, name), { signal }));
      else
        for await (const chunk of createReadStream(join(path, name), { signal, highWaterMark: READ_BYTES })) hash.update(chunk as Buffer);
    } catch (error) {
      throw signal.aborted ? error : readError(join(path, name), error);
    }
    hashed.push({ name, sizeBytes, sha256: hash.digest("hex") });
  }
  return hashed;
}

/** @throws the error where it says something else than that there is nothing */
function unlessGone(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOENT" && code !== "ELOOP") throw error;
}

/** An error of a folder that is read in place, told in words; what is none of its files' comes back as it is. */
export function readError(path: string, error: unknown): unknown {
  const { code } = (error ?? {}) as { code?: unknown };
  if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP")
    return new AdapterError(
      "ArtifactNotFound",
      `${path} does not exist here: check the path, and that its volume is mounted into the runtime's container`,
      {
        cause: error,
      },
    );
  if (isRefused(error))
    return new AdapterError("ArtifactDenied", `${path} cannot be read (${code}): give the runtime's user access to it`, { cause: error });
  if (error instanceof AdapterError || typeof code !== "string") return error;
  return new AdapterError("ArtifactUnavailable", `${path} cannot be read (${code}); it is tried again`, { cause: error });
}

/** Whether this user may not read something. */
export function isRefused(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === "EACCES" || code === "EPERM";
}
