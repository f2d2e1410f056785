import { RotatingLog } from "./rotating-log.ts";
import { logFile, type StateDir } from "./state-dir.ts";

/** The log files of a stack's parts, each begun anew by the first write. */
export class Logs {
  readonly #dir: StateDir;
  readonly #open = new Map<string, RotatingLog>();

  constructor(dir: StateDir) {
    this.#dir = dir;
  }

  write(part: string, chunk: Uint8Array | string): void {
    let log = this.#open.get(part);
    if (log === undefined) {
      log = new RotatingLog(logFile(this.#dir, part));
      this.#open.set(part, log);
    }
    log.write(chunk);
  }

  close(): void {
    for (const log of this.#open.values()) log.close();
    this.#open.clear();
  }
}
