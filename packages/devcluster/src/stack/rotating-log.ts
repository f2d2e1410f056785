import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, writeSync } from "node:fs";

/** Size at which a log is put aside as `<file>.1`; so a log takes at most twice this. */
export const LOG_LIMIT_BYTES: number = 10 * 1024 * 1024;

/** A log file with a bound on its size; what an earlier run wrote is put aside. Written synchronously, so that the last words of a crash are in it. */
export class RotatingLog {
  readonly path: string;
  readonly #limitBytes: number;
  #fd: number;
  #bytes = 0;

  constructor(path: string, limitBytes: number = LOG_LIMIT_BYTES) {
    this.path = path;
    this.#limitBytes = limitBytes;
    if (existsSync(path)) renameSync(path, `${path}.1`);
    this.#fd = openSync(path, "a", 0o600);
  }

  write(chunk: Uint8Array | string): void {
    if (this.#fd < 0) return;
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    if (this.#bytes > 0 && this.#bytes + bytes.byteLength > this.#limitBytes) this.#rotate();
    writeSync(this.#fd, bytes);
    this.#bytes += bytes.byteLength;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.path, `${this.path}.1`);
    this.#fd = openSync(this.path, "a", 0o600);
    this.#bytes = 0;
  }
}

const TAIL_BYTES = 64 * 1024;

/** The last lines of a log; empty where there is none. */
export function tail(path: string, lines: number): readonly string[] {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return [];
  }
  try {
    const size = fstatSync(fd).size;
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(fd, buffer, 0, buffer.byteLength, size - buffer.byteLength);
    return buffer
      .toString("utf8")
      .split("\n")
      .filter((line) => line.trim() !== "")
      .slice(-lines);
  } finally {
    closeSync(fd);
  }
}
