import type { Progress } from "../artifact/transfer/meter.ts";
import type { CommandIo } from "./command.ts";
import { size } from "./size.ts";

/** How often a terminal's line is drawn anew, and how often a line is written where there is no terminal, in milliseconds. */
const DRAW_MS = 200;
export const LINE_MS = 10_000;

const BAR_WIDTH = 30;
const DEFAULT_COLUMNS = 80;

/** Shows how far a download is: a line that is drawn anew on a terminal, else a line now and then, also while nothing comes. */
export class ProgressDisplay {
  readonly #stderr: CommandIo["stderr"];
  readonly #bar: boolean;
  readonly #timer: NodeJS.Timeout;
  #last: Progress | undefined;
  #drawn = false;

  /** @param forced - draw a bar even where standard error is no terminal */
  constructor(stderr: CommandIo["stderr"], forced: boolean) {
    this.#stderr = stderr;
    this.#bar = forced || stderr.isTTY === true;
    this.#timer = setInterval(() => this.#tell(), this.#bar ? DRAW_MS : LINE_MS);
  }

  update(progress: Progress): void {
    this.#last = progress;
  }

  /** Ends the display; what is written afterwards begins on a line of its own. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#bar) this.#tell();
    if (this.#drawn) this.#stderr.write("\n");
  }

  #tell(): void {
    if (this.#last === undefined) return;
    if (!this.#bar) {
      this.#stderr.write(`${progressText(this.#last)}\n`);
      return;
    }
    this.#drawn = true;
    // To the line's beginning, and nothing left of what stood there.
    this.#stderr.write(`\r\u001b[K${progressBar(this.#last, this.#stderr.columns ?? DEFAULT_COLUMNS)}`);
  }
}

/** How far, in words: `1.2 GB of 3.4 GB (35 %), 120.0 MB/s, 18 s left`. */
export function progressText(progress: Progress): string {
  const { bytes, totalBytes, bytesPerSecond } = progress;
  const left = totalBytes - bytes;
  const rate = `${size(bytesPerSecond)}/s`;
  const rest = left <= 0 ? "checking" : bytesPerSecond > 0 ? `${rate}, ${time(left / bytesPerSecond)} left` : rate;
  return `${size(bytes)} of ${size(totalBytes)} (${percent(progress)} %), ${rest}`;
}

/** The same with a bar in front, where a line has room for it; never longer than the line. */
export function progressBar(progress: Progress, columns: number): string {
  const text = progressText(progress);
  const filled = Math.floor((percent(progress) / 100) * BAR_WIDTH);
  const bar = `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] `;
  // A full line would make a terminal begin the next one.
  return (bar.length + text.length < columns ? bar + text : text).slice(0, Math.max(0, columns - 1));
}

/** In whole percent, and 100 only for all of it. */
function percent({ bytes, totalBytes }: Progress): number {
  return totalBytes === 0 ? 100 : Math.max(0, Math.min(100, Math.floor((bytes / totalBytes) * 100)));
}

function time(seconds: number): string {
  if (seconds < 100) return `${Math.ceil(seconds)} s`;
  if (seconds < 6_000) return `${Math.ceil(seconds / 60)} min`;
  return `${Math.ceil(seconds / 3_600)} h`;
}
