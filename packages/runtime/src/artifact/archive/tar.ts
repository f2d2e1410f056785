import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Parser, type ReadEntry } from "tar";
import { type Bounds, invalid, isBycatch, plainName, refused, type Unpacked } from "./entries.ts";

import type { Headroom } from "./headroom.ts";

/** Largest header of a long name or of extended attributes, in bytes: these are held in memory. */
const MAX_META_BYTES = 64 * 1024;

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** The parser looks at as many bytes before it decides that they are compressed. */
const MAGIC_BYTES = 4;

/**
 * Unpacks a tar, or one in gzip.
 *
 * @throws AdapterError `ArtifactInvalid`; errors of the volume as they are
 */
export async function untar(
  archive: string,
  gzip: boolean,
  folder: string,
  bounds: Bounds,
  headroom: Headroom,
  signal: AbortSignal,
): Promise<readonly Unpacked[]> {
  // The parser looks into compressed bytes by itself, where nobody would count them.
  if (!gzip && isCompressed(await firstBytes(archive))) throw invalid("it is compressed, and its name says that it is not");
  const files: Unpacked[] = [];
  const writes: Promise<void>[] = [];
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  const fail = (error: unknown) => failed.abort(error);
  const onReadEntry = (entry: ReadEntry) => {
    if (both.aborted) return void entry.resume();
    try {
      const file = takeEntry(entry, folder, files.length, bounds);
      if (file === undefined) return void entry.resume();
      files.push(file);
      writes.push(write(entry, file.path, bounds, headroom, both).catch(fail));
    } catch (error) {
      fail(error);
      entry.resume();
    }
  };
  const parser = new Parser({ strict: true, maxMetaEntrySize: MAX_META_BYTES, brotli: false, zstd: false, onReadEntry });
  parser.on("error", fail);
  // A header that is too long to be held, or of a kind that the parser does not know: what follows it would go by a wrong name.
  parser.on("ignoredEntry", (entry: ReadEntry) => fail(refused(entry.path, `it is a ${entry.type}, or its header is too long`)));
  try {
    await feed(archive, gzip, parser, bounds, both);
  } catch (error) {
    fail(error);
  }
  await Promise.all(writes);
  signal.throwIfAborted();
  if (failed.signal.aborted) throw explain(failed.signal.reason);
  return files;
}

/** What becomes of an entry: a file, or nothing for a folder and for bycatch. */
function takeEntry({ type, path, size }: ReadEntry, folder: string, index: number, bounds: Bounds): Unpacked | undefined {
  bounds.entry();
  const name = plainName(path);
  if (type === "Directory" || type === "GNUDumpDir") return undefined;
  if (type !== "File" && type !== "OldFile" && type !== "ContiguousFile") throw refused(path, `it is no plain file but a ${type}`);
  if (name === "") throw refused(path, "it has no name");
  bounds.name(name);
  return isBycatch(name) ? undefined : { name, sizeBytes: size, path: join(folder, String(index)) };
}

async function write(entry: ReadEntry, path: string, bounds: Bounds, headroom: Headroom, signal: AbortSignal): Promise<void> {
  // A pipeline that is aborted waits for its source, which waits for the parser: the source has to be ended by itself.
  entry.on("error", () => undefined);
  const end = () => void entry.destroy(signal.reason);
  signal.addEventListener("abort", end, { once: true });
  try {
    await pipeline(
      async function* chunks() {
        for await (const chunk of entry) {
          bounds.written(chunk.length);
          await headroom.take(chunk.length);
          yield chunk;
        }
      },
      createWriteStream(path, { flags: "wx" }),
    );
  } finally {
    signal.removeEventListener("abort", end);
  }
}

/** Gives the parser the archive's bytes, decompressed and counted, as fast as it takes them. */
async function feed(archive: string, gzip: boolean, parser: Parser, bounds: Bounds, signal: AbortSignal): Promise<void> {
  const ended = new Promise<void>((resolve) => void parser.once("end", resolve));
  let isFirst = true;
  await pipeline(
    createReadStream(archive),
    gzip ? createGunzip() : new PassThrough(),
    async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of withWholeMagic(chunks)) {
        if (isFirst && isCompressed(chunk)) throw invalid("it is compressed twice");
        isFirst = false;
        bounds.bytes(chunk.length);
        if (!parser.write(chunk)) await unlessAborted(new Promise<void>((resolve) => void parser.once("drain", resolve)), signal);
        signal.throwIfAborted();
      }
      parser.end();
      await unlessAborted(ended, signal);
    },
    { signal },
  );
}

/** The same bytes, with a first chunk that is long enough to be judged: gzip may be made to yield a single byte first. */
async function* withWholeMagic(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (start === undefined) {
      yield chunk;
      continue;
    }
    start = Buffer.concat([start, chunk]);
    if (start.length < MAGIC_BYTES) continue;
    yield start;
    start = undefined;
  }
  if (start !== undefined && start.length > 0) yield start;
}

async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAGIC_BYTES), 0, MAGIC_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function isCompressed(bytes: Buffer): boolean {
  return bytes.subarray(0, 2).equals(GZIP) || bytes.subarray(0, 4).equals(ZSTD);
}

function explain(error: unknown): unknown {
  const { code, tarCode, message } = (error ?? {}) as { code?: unknown; tarCode?: unknown; message?: unknown };
  if (typeof tarCode === "string" || /^(TAR_|Z_)/.test(String(code)))
    return invalid(`it cannot be read as a tar (${String(message).slice(0, 200)})`);
  return error;
}
