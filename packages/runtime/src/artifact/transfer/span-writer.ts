import type { FileHandle } from "node:fs/promises";
import type { ByteRange } from "../sources/source.ts";
import { storageError } from "./storage-error.ts";

/** A write is large enough that its own cost does not count, and small enough for bounded memory with many at once. */
const BATCH_BYTES = 512 * 1024;

/** Writes what comes at its place in a file, in batches: one is on its way to the file while the next one fills. */
export class SpanWriter {
  readonly #file: FileHandle;
  readonly #onWritten: (span: ByteRange) => Promise<void> | undefined;
  readonly #recycle: (chunk: Buffer) => void;
  #batch: Buffer[] = [];
  #batchBytes = 0;
  #writing: Promise<void> | undefined;
  /** Where the next batch goes. */
  #at: number;

  /**
   * @param onWritten - called with every part that is in the file, in order
   * @param recycle - called with every chunk that is in the file, and is not read again
   */
  constructor(
    file: FileHandle,
    start: number,
    onWritten: (span: ByteRange) => Promise<void> | undefined,
    recycle: (chunk: Buffer) => void,
  ) {
    this.#file = file;
    this.#at = start;
    this.#onWritten = onWritten;
    this.#recycle = recycle;
  }

  /** Takes bytes; what it returns is to be waited for before the next. */
  push(chunk: Buffer): Promise<void> | undefined {
    this.#batch.push(chunk);
    this.#batchBytes += chunk.length;
    return this.#batchBytes < BATCH_BYTES ? undefined : this.#turn();
  }

  /** Writes what is left. */
  async flush(): Promise<void> {
    await this.#turn();
    await this.#writing;
  }

  async #turn(): Promise<void> {
    await this.#writing;
    if (this.#batchBytes === 0) return;
    this.#writing = this.#write(this.#batch, this.#batchBytes, this.#at);
    // Who waits for it sees the error; until then it is nobody's.
    this.#writing.catch(() => undefined);
    this.#at += this.#batchBytes;
    this.#batch = [];
    this.#batchBytes = 0;
  }

  async #write(batch: Buffer[], bytes: number, start: number): Promise<void> {
    try {
      let left = batch;
      let at = start;
      while (at < start + bytes) {
        const { bytesWritten } = await this.#file.writev(left, at);
        at += bytesWritten;
        left = at < start + bytes ? [Buffer.concat(batch).subarray(at - start)] : [];
      }
    } catch (error) {
      throw storageError(error);
    }
    for (const chunk of batch) this.#recycle(chunk);
    await this.#onWritten({ start, end: start + bytes });
  }
}
