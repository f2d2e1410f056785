import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { type Bounds, invalid, isBycatch, plainName, refused, type Unpacked } from "./entries.ts";

import type { Headroom } from "./headroom.ts";

/** The kind of file in the upper half of an entry's attributes, where a Unix packed it (`st_mode`). */
const [KIND, PLAIN_FILE, FOLDER] = [0o170000, 0o100000, 0o040000];
const MADE_BY_UNIX = 3;

/**
 * Unpacks a zip.
 *
 * @throws AdapterError `ArtifactInvalid`; errors of the volume as they are
 */
export async function unzip(
  archive: string,
  folder: string,
  bounds: Bounds,
  headroom: Headroom,
  signal: AbortSignal,
): Promise<readonly Unpacked[]> {
  const files: Unpacked[] = [];
  const zip = await read(() => openPromise(archive, { lazyEntries: true, autoClose: false }));
  try {
    const entries = zip.eachEntry();
    for (;;) {
      const next = await read(async () => await entries.next());
      if (next.done === true) return files;
      signal.throwIfAborted();
      const file = takeEntry(next.value, folder, files.length, bounds);
      if (file === undefined) continue;
      await unpack(zip, next.value, file, bounds, headroom, signal);
      files.push(file);
    }
  } finally {
    zip.close();
  }
}

/** What becomes of an entry: a file, or nothing for a folder and for bycatch. */
function takeEntry(entry: Entry, folder: string, index: number, bounds: Bounds): Unpacked | undefined {
  bounds.entry();
  const { fileName } = entry;
  const name = plainName(fileName);
  const kind = entry.versionMadeBy >> 8 === MADE_BY_UNIX ? (entry.externalFileAttributes >>> 16) & KIND : 0;
  if (fileName.endsWith("/") || kind === FOLDER) return undefined;
  if (kind !== 0 && kind !== PLAIN_FILE) throw refused(fileName, "it is no plain file but a link or a device");
  if (entry.isEncrypted()) throw refused(fileName, "it is encrypted");
  if (!entry.canDecodeFileData()) throw refused(fileName, "it is compressed in another way than deflate");
  if (name === "") throw refused(fileName, "it has no name");
  bounds.name(name);
  return isBycatch(name) ? undefined : { name, sizeBytes: entry.uncompressedSize, path: join(folder, String(index)) };
}

async function unpack(zip: ZipFile, entry: Entry, file: Unpacked, bounds: Bounds, headroom: Headroom, signal: AbortSignal): Promise<void> {
  const stream = await read(() => zip.openReadStreamPromise(entry));
  let broken: unknown;
  stream.on("error", (error) => {
    broken ??= error;
  });
  try {
    await pipeline(
      stream,
      async function* counted(chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          bounds.bytes(chunk.length);
          await headroom.take(chunk.length);
          yield chunk;
        }
      },
      createWriteStream(file.path, { flags: "wx" }),
      { signal },
    );
  } catch (error) {
    throw error === broken && !signal.aborted ? explain(error) : error;
  }
}

/** Runs a call of the zip library; what it throws is about the archive. */
async function read<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw explain(error);
  }
}

function explain(error: unknown): unknown {
  const { code, syscall, message } = (error ?? {}) as { code?: unknown; syscall?: unknown; message?: unknown };
  if (syscall !== undefined || (typeof code === "string" && !code.startsWith("Z_"))) return error;
  return invalid(`it cannot be read as a zip (${String(message).slice(0, 200)})`);
}
