/** A body's first bytes claim this much memory; it grows by this factor as they come. */
const FIRST_BYTES = 16 * 1024;
const GROWTH = 2;

/** What all bodies that are held may have of memory together, in bytes. */
export class HeldBytes {
  readonly #limit: number;
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes so much more, or tells that there is not so much. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#limit) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** A body that comes in pieces and that Envoy does not keep. It is copied: a piece may be a small part of what was read with it. */
export class HeldBody {
  readonly #held: HeldBytes;
  #buffer: Buffer = Buffer.alloc(0);
  #bytes = 0;

  constructor(held: HeldBytes) {
    this.#held = held;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes the next piece, or tells that there is no memory for it.
   *
   * @param limit - bytes that the body may have; nothing beyond is claimed ahead
   */
  add(piece: Buffer, limit: number): boolean {
    const bytes = this.#bytes + piece.length;
    if (bytes > this.#buffer.length) {
      const size = Math.max(bytes, Math.min(Math.max(this.#buffer.length * GROWTH, FIRST_BYTES), limit));
      if (!this.#held.take(size - this.#buffer.length)) return false;
      const grown = Buffer.allocUnsafeSlow(size);
      this.#buffer.copy(grown, 0, 0, this.#bytes);
      this.#buffer = grown;
    }
    piece.copy(this.#buffer, this.#bytes);
    this.#bytes = bytes;
    return true;
  }

  /** All of it; valid until {@link HeldBody.drop}. */
  whole(): Buffer {
    return this.#buffer.subarray(0, this.#bytes);
  }

  /** Forgets it. */
  drop(): void {
    this.#held.give(this.#buffer.length);
    this.#buffer = Buffer.alloc(0);
    this.#bytes = 0;
  }
}
