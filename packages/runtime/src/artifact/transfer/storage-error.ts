import { AdapterError } from "../../errors.ts";

/** The volume takes nothing: what came meanwhile is lost, so the download ends and a later one goes on. */
export class VolumeDenied extends AdapterError {
  constructor(message: string, cause: unknown) {
    super("ArtifactUnavailable", message, { cause });
  }
}

/** Errors of the volume, told in words; anything else comes back as it is. */
export function storageError(error: unknown): unknown {
  const { code, path } = (error ?? {}) as { code?: unknown; path?: unknown };
  if (code === "ENOSPC" || code === "EDQUOT")
    return new AdapterError(
      "StorageFull",
      `there is no room on the volume that the download goes to: enlarge it or free some; it is tried again`,
      { cause: error },
    );
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new VolumeDenied(
      `${path === undefined ? "the file of a download" : String(path)} cannot be used (${code}): give the runtime's user access to it; it is tried again`,
      error,
    );
  return error;
}
