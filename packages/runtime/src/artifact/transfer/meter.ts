/** How far back a rate looks, in milliseconds. */
const WINDOW_MS = 5_000;
const STEP_MS = 250;

/** How far a download is. */
export interface Progress {
  readonly bytes: number;
  readonly totalBytes: number;
  /** Over the last seconds; what was here before does not count. */
  readonly bytesPerSecond: number;
}

/** Counts the bytes of one download. */
export class Meter {
  readonly #totalBytes: number;
  readonly #now: () => number;
  #bytes = 0;
  #received = 0;
  readonly #marks: { readonly atMs: number; readonly received: number }[];

  /** @param now - a clock that never jumps, in milliseconds */
  constructor(totalBytes: number, now: () => number = () => performance.now()) {
    this.#totalBytes = totalBytes;
    this.#now = now;
    this.#marks = [{ atMs: now(), received: 0 }];
  }

  /** Bytes came from the source. */
  receive(bytes: number): void {
    this.#bytes += bytes;
    this.#received += bytes;
    const now = this.#now();
    if (now - (this.#marks.at(-1)?.atMs ?? 0) < STEP_MS) return;
    this.#marks.push({ atMs: now, received: this.#received });
    while (this.#marks.length > 2 && now - (this.#marks[1]?.atMs ?? now) > WINDOW_MS) this.#marks.shift();
  }

  /** Bytes count that did not come now: they were here, or (negative) what came is given up. */
  adjust(bytes: number): void {
    this.#bytes += bytes;
  }

  get progress(): Progress {
    const from = this.#marks[0] ?? { atMs: 0, received: 0 };
    const seconds = (this.#now() - from.atMs) / 1000;
    const rate = seconds > 0 ? (this.#received - from.received) / seconds : 0;
    return { bytes: this.#bytes, totalBytes: this.#totalBytes, bytesPerSecond: Math.round(rate) };
  }
}
