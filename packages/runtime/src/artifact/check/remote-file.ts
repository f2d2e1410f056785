import { AdapterError, messageOf, networkCode } from "../../errors.ts";
import type { Listing, RemoteFile, Source } from "../sources/source.ts";
import { retried } from "../transfer/retry.ts";
import type { AdapterFile } from "./files.ts";

/** A file of a source, of which only what is asked for is read. */
export function remoteFile(source: Source, listing: Listing, file: RemoteFile): AdapterFile {
  return {
    name: file.name,
    sizeBytes: file.sizeBytes,
    read: async (start, end, signal) => await retried(() => readPart(source, listing, file, { start, end }, signal), signal),
  };
}

async function readPart(
  source: Source,
  listing: Listing,
  file: RemoteFile,
  { start, end }: { readonly start: number; readonly end: number },
  signal: AbortSignal,
): Promise<Buffer> {
  if (start === end) return Buffer.alloc(0);
  const range = start === 0 && end === file.sizeBytes ? undefined : { start, end };
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    const body = await source.read(listing, file, range, signal);
    for await (const chunk of body) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes > end - start) break; // Leaving the loop ends the request.
    }
  } catch (error) {
    if (signal.aborted || error instanceof AdapterError) throw error;
    throw new AdapterError(
      "ArtifactUnavailable",
      `${file.name}: the connection broke (${networkCode(error) ?? messageOf(error).slice(0, 100)}); it is tried again`,
      { cause: error },
    );
  }
  if (bytes !== end - start)
    throw new AdapterError("ArtifactUnavailable", `${file.name}: ${bytes} bytes came, ${end - start} were asked for; it is tried again`);
  return Buffer.concat(chunks);
}
