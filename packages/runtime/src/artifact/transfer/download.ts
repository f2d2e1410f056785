import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { LimitFunction } from "p-limit";
import { AdapterError } from "../../errors.ts";
import { type ByteRange, type Listing, NoRanges, type RemoteFile, type Source, type StatedDigest } from "../sources/source.ts";
import { toDisk } from "../store/layout.ts";
import type { GrowingHash, Hasher } from "./hasher.ts";
import type { Journal } from "./journal.ts";
import type { Meter } from "./meter.ts";
import type { RateLimit } from "./rate-limit.ts";
import { damaged, receive, type Sink } from "./receive.ts";
import { mayPass, retried } from "./retry.ts";
import { SpanWriter } from "./span-writer.ts";
import { frontier, missingSpans, spanBytes, withSpan } from "./spans.ts";
import { storageError } from "./storage-error.ts";

/** Files are fetched in parts of this size, several at once; smaller ones as a whole. */
export const PART_BYTES: number = 16 * 2 ** 20;

/** A journal's line for so many bytes: what a crash loses of each connection at most. */
const NOTE_BYTES = 4 * 2 ** 20;

/** What the thread that hashes is woken for. */
const HASH_STEP_BYTES = 4 * 2 ** 20;

/** So much is brought to the disk at once while the rest still comes: whoever waits for the disk in the end waits for little. */
const FLUSH_BYTES = 64 * 2 ** 20;

export interface Downloaded {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** What the files of one artifact share while they are fetched. */
export interface Download {
  readonly source: Source;
  readonly listing: Listing;
  /** Folder that the files are written in. */
  readonly dir: string;
  readonly journal: Journal;
  readonly meter: Meter;
  /** Called with the bytes of each chunk that came. */
  readonly onReceived: (bytes: number) => void;
  /** Takes back the memory of a chunk that is in its file. */
  readonly recycle: (chunk: Buffer) => void;
  /** Requests that run at once. */
  readonly connections: LimitFunction;
  readonly rate: RateLimit;
  readonly hasher: Hasher;
  /** Lets one flush after another run: each keeps one of the few threads that all files of the process share. */
  readonly flush: (task: () => Promise<void>) => Promise<void>;
  /** @defaultValue PART_BYTES */
  readonly partBytes?: number;
  /** @defaultValue FLUSH_BYTES */
  readonly flushBytes?: number;
  /** Times that a file is fetched anew after it came damaged. */
  readonly retries?: number;
}

/**
 * Brings one file here, going on from what the journal says is there, and checks it against what the source states.
 *
 * @throws AdapterError `ArtifactUnavailable`, `ArtifactInvalid` where the content is not what was announced, `StorageFull`
 */
export async function downloadFile(download: Download, file: RemoteFile, signal: AbortSignal): Promise<Downloaded> {
  const stated = await statedDigests(download.source, file, signal);
  for (let retries = download.retries ?? 1; ; retries -= 1) {
    try {
      return await once(download, file, stated, signal);
    } catch (error) {
      if (!(error instanceof AdapterError) || error.reason !== "ArtifactInvalid" || !error.retryable) throw error;
      // Again the same wrong content: the source itself is wrong, and only a change there helps.
      if (retries <= 0) throw new AdapterError(error.reason, error.message, { retryable: false });
      await download.journal.forget(file.name);
    }
  }
}

async function statedDigests(source: Source, file: RemoteFile, signal: AbortSignal): Promise<readonly StatedDigest[]> {
  const sha256: readonly StatedDigest[] = file.sha256 === undefined ? [] : [{ algorithm: "sha256", hex: file.sha256 }];
  const md5: readonly StatedDigest[] = file.md5 === undefined ? [] : [{ algorithm: "md5", hex: file.md5 }];
  const asked = await retried(async () => (await source.digests?.(file, signal)) ?? [], signal);
  return [...sha256, ...md5, ...(file.digests ?? []), ...asked];
}

async function once(download: Download, file: RemoteFile, stated: readonly StatedDigest[], signal: AbortSignal): Promise<Downloaded> {
  const growing = await GrowingFile.open(download, file, stated);
  try {
    await fill(download, growing, signal);
    const hex = await growing.hashed(signal);
    await growing.flushed();
    for (const { algorithm, hex: said } of stated)
      if (hex[algorithm] !== said) throw damaged(file, `its ${algorithm} is ${hex[algorithm]}, the source says ${said}`);
    return { name: file.name, sizeBytes: file.sizeBytes, sha256: hex.sha256 ?? "" };
  } catch (error) {
    if (error instanceof AdapterError && error.reason === "ArtifactInvalid") growing.discount();
    throw error;
  } finally {
    await growing.close();
  }
}

/** Fetches what is missing: in parts, or in one stream where the file is small or the source gives no parts. */
async function fill(download: Download, growing: GrowingFile, signal: AbortSignal): Promise<void> {
  const { connections, partBytes = PART_BYTES } = download;
  const { sizeBytes, asWhole = false } = growing.file;
  if (asWhole || (sizeBytes <= partBytes && growing.missing(partBytes).length === 1 && growing.isEmpty))
    return await connections(() => stream(download, growing, signal));
  try {
    await all(
      growing.missing(partBytes).map((span) => (both: AbortSignal) => connections(() => part(download, growing, span, both))),
      signal,
    );
  } catch (error) {
    if (!(error instanceof NoRanges)) throw error;
    await growing.restart();
    await connections(() => stream(download, growing, signal));
  }
}

/** A part of a file. A connection that breaks is resumed where it broke; as long as something comes, it is tried again. */
async function part(download: Download, growing: GrowingFile, span: ByteRange, signal: AbortSignal): Promise<void> {
  let at = span.start;
  const onCame = (bytes: number) => {
    at += bytes;
  };
  for (;;) {
    const before = at;
    try {
      return await retried(async () => {
        if (at < span.end) await pour(download, growing, { span: { start: at, end: span.end }, asRange: true }, onCame, signal);
      }, signal);
    } catch (error) {
      if (signal.aborted || at === before || !mayPass(error)) throw error;
    }
  }
}

/** A whole file in one answer. Where that breaks, the rest comes as a part; from a source without parts, all of it once more. */
async function stream(download: Download, growing: GrowingFile, signal: AbortSignal): Promise<void> {
  const { sizeBytes, asWhole = false } = growing.file;
  let hasParts = !asWhole;
  await retried(async () => {
    const start = frontier(growing.done);
    if (start === sizeBytes && sizeBytes > 0) return;
    try {
      if (start > 0 && hasParts) return await part(download, growing, { start, end: sizeBytes }, signal);
    } catch (error) {
      if (!(error instanceof NoRanges)) throw error;
      hasParts = false;
    }
    if (start > 0) await growing.restart();
    await pour(download, growing, { span: { start: 0, end: sizeBytes }, asRange: false }, () => undefined, signal);
  }, signal);
}

/** One answer of the source into the file. What came before an error is kept. */
async function pour(
  download: Download,
  growing: GrowingFile,
  what: { readonly span: ByteRange; readonly asRange: boolean },
  onCame: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const { source, listing, meter, onReceived, rate } = download;
  const writer = growing.writer(what.span.start);
  const sink = (chunk: Buffer) => {
    meter.receive(chunk.length);
    onReceived(chunk.length);
    onCame(chunk.length);
    return writer.push(chunk);
  };
  try {
    await receive({ source, listing, file: growing.file, ...what }, sink, rate, signal);
  } finally {
    await writer.end();
  }
}

/** Runs tasks; the first that fails ends the others, and is what is thrown once all have ended. */
async function all(tasks: readonly ((signal: AbortSignal) => Promise<void>)[], signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  await Promise.allSettled(
    tasks.map(async (task) => {
      try {
        both.throwIfAborted();
        await task(both);
      } catch (error) {
        failed.abort(error);
      }
    }),
  );
  signal.throwIfAborted();
  failed.signal.throwIfAborted();
}

/** A file of its final size that fills in any order, hashed as far as it is there without a gap. */
class GrowingFile {
  readonly file: RemoteFile;
  readonly #download: Download;
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #algorithms: readonly StatedDigest["algorithm"][];
  #hash: GrowingHash;
  #advanced = 0;
  #unflushedBytes = 0;
  #flushing: Promise<void> | undefined;
  #done: readonly ByteRange[];

  private constructor(download: Download, file: RemoteFile, handle: FileHandle, stated: readonly StatedDigest[]) {
    this.file = file;
    this.#download = download;
    this.#handle = handle;
    this.#path = join(download.dir, file.name);
    this.#algorithms = ["sha256", ...stated.map((s) => s.algorithm)];
    this.#done = [];
    this.#hash = this.#newHash();
  }

  /** Opens the file, with what can be trusted of an earlier try. */
  static async open(download: Download, file: RemoteFile, stated: readonly StatedDigest[]): Promise<GrowingFile> {
    const { dir, journal, meter } = download;
    try {
      const handle = await open(join(dir, file.name), constants.O_RDWR | constants.O_CREAT, 0o644);
      try {
        const growing = new GrowingFile(download, file, handle, stated);
        const isWhole = (await handle.stat()).size === file.sizeBytes;
        // After a crash of the machine the disk may lack what the journal says; only a hash that the source states could show it.
        if (isWhole && (journal.isSure(file.name) || stated.length > 0)) growing.#done = journal.done(file.name);
        else {
          await journal.forget(file.name);
          await handle.truncate(file.sizeBytes);
        }
        meter.adjust(spanBytes(growing.#done));
        growing.#advance();
        return growing;
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (error) {
      throw storageError(error);
    }
  }

  get done(): readonly ByteRange[] {
    return this.#done;
  }

  get isEmpty(): boolean {
    return this.#done.length === 0;
  }

  missing(partBytes: number): readonly ByteRange[] {
    return missingSpans(this.file.sizeBytes, this.#done, partBytes);
  }

  /** Writes from `start` on; what it has written counts as there, now and for a later try. */
  writer(start: number): { readonly push: Sink; readonly end: () => Promise<void> } {
    const { journal, recycle } = this.#download;
    let noted = start;
    let at = start;
    const note = async () => {
      if (at === noted) return;
      const part = { start: noted, end: at };
      noted = at;
      await journal.add(this.file.name, part);
    };
    const onWritten = (span: ByteRange) => {
      this.#done = withSpan(this.#done, span);
      this.#advance();
      this.#flush(span.end - span.start);
      at = span.end;
      return at - noted < NOTE_BYTES ? undefined : note();
    };
    const writer = new SpanWriter(this.#handle, start, onWritten, recycle);
    const end = async () => {
      try {
        await writer.flush();
      } finally {
        await note();
      }
    };
    return { push: (chunk) => writer.push(chunk), end };
  }

  /** Lets the hash go on, in steps that are worth waking its thread for. */
  #advance(): void {
    const to = frontier(this.#done);
    if (to - this.#advanced < HASH_STEP_BYTES && to < this.file.sizeBytes) return;
    this.#advanced = to;
    this.#hash.advance(to);
  }

  /** Begins to bring to the disk what is written, once it is enough. */
  #flush(writtenBytes: number): void {
    const { flush, flushBytes = FLUSH_BYTES } = this.#download;
    this.#unflushedBytes += writtenBytes;
    if (this.#unflushedBytes < flushBytes || this.#flushing !== undefined) return;
    this.#unflushedBytes = 0;
    const flushing = flush(() => toDisk(this.#path));
    this.#flushing = flushing;
    // An error stays where it is, for whoever waits: the system tells it once.
    flushing.then(
      () => (this.#flushing = undefined),
      () => undefined,
    );
  }

  /** Waits for what was begun to be brought to the disk. */
  async flushed(): Promise<void> {
    try {
      await this.#flushing;
    } catch (error) {
      throw storageError(error);
    }
  }

  /** Gives up what is there. */
  async restart(): Promise<void> {
    this.discount();
    this.#hash.drop();
    await this.#download.journal.forget(this.file.name);
    this.#done = [];
    this.#advanced = 0;
    this.#hash = this.#newHash();
  }

  /** Takes what is there out of the progress. */
  discount(): void {
    this.#download.meter.adjust(-spanBytes(this.#done));
  }

  /** The hashes of the whole file. */
  async hashed(signal: AbortSignal): Promise<Awaited<GrowingHash["result"]>> {
    const abort = () => this.#hash.drop();
    signal.addEventListener("abort", abort, { once: true });
    try {
      signal.throwIfAborted();
      return await this.#hash.result;
    } catch (error) {
      signal.throwIfAborted();
      throw storageError(error);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  async close(): Promise<void> {
    this.#hash.drop();
    await this.#handle.close();
  }

  #newHash(): GrowingHash {
    return this.#download.hasher.open(this.#path, this.file.sizeBytes, this.#algorithms);
  }
}
