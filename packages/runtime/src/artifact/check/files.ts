import { open } from "node:fs/promises";
import { join } from "node:path";
import { AdapterError, messageOf } from "../../errors.ts";
import { isRefused, readError } from "../sources/path.ts";

/** A file of an adapter, wherever it is. */
export interface AdapterFile {
  readonly name: string;
  readonly sizeBytes: number;
  /**
   * The bytes from `start` up to, but without, `end`; never fewer.
   *
   * @throws AdapterError
   */
  read(start: number, end: number, signal: AbortSignal): Promise<Buffer>;
}

/** A file of a folder here, with the size that it has now. */
export async function localFile(dir: string, name: string): Promise<AdapterFile> {
  const path = join(dir, name);
  const sizeBytes = await withFile(path, async (file) => (await file.stat()).size);
  return {
    name,
    sizeBytes,
    read: async (start, end) =>
      await withFile(path, async (file) => {
        const bytes = Buffer.alloc(end - start);
        let filled = 0;
        while (filled < bytes.length) {
          const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
          if (bytesRead === 0) throw new AdapterError("ArtifactUnavailable", `${path} became shorter while it was read: it is read again`);
          filled += bytesRead;
        }
        return bytes;
      }),
  };
}

async function withFile<T>(path: string, use: (file: Awaited<ReturnType<typeof open>>) => Promise<T>): Promise<T> {
  let file: Awaited<ReturnType<typeof open>> | undefined;
  try {
    file = await open(path);
    return await use(file);
  } catch (error) {
    const told = isRefused(error) ? readError(path, error) : error;
    if (told instanceof AdapterError) throw told;
    throw new AdapterError("ArtifactUnavailable", `${path} cannot be read (${messageOf(error).slice(0, 200)}): it is tried again`, {
      cause: error,
    });
  } finally {
    await file?.close();
  }
}
