import { CHUNK_BYTES, encodeChunk } from "./codec.ts";
import type { GrpcStream } from "./transport.ts";

/** Gives bodies back to an Envoy that keeps no copy of them, piece by piece and no faster than it takes them. */
export class Relay {
  readonly #stream: GrpcStream;
  /** Called once all is given back that there was. */
  readonly #onIdle: () => void;
  #rest: Buffer = Buffer.alloc(0);
  /** Whether what is left is the last. */
  #last = false;
  /** Whether there is something left to give. */
  #giving = false;
  /** Whether Envoy has to take something first. */
  #full = false;

  readonly #phase: "requestBody" | "responseBody";

  constructor(stream: GrpcStream, phase: "requestBody" | "responseBody", onIdle: () => void) {
    this.#stream = stream;
    this.#phase = phase;
    this.#onIdle = onIdle;
  }

  /** Whether something waits for Envoy to take it. */
  get busy(): boolean {
    return this.#giving || this.#full;
  }

  /**
   * Gives these bytes back. Not to be called while {@link Relay.busy}.
   *
   * @param endOfStream - whether they are the last, and no trailers follow
   */
  give(body: Buffer, endOfStream: boolean): void {
    this.#rest = body;
    this.#last = endOfStream;
    this.#giving = body.length > 0 || endOfStream;
    this.#pump();
  }

  /** There is room again. */
  onDrain(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#pump();
  }

  /** Forgets what is left. */
  drop(): void {
    this.#giving = false;
    this.#rest = Buffer.alloc(0);
  }

  #pump(): void {
    while (this.#giving && !this.#full) {
      const piece = this.#rest.subarray(0, CHUNK_BYTES);
      this.#rest = this.#rest.subarray(piece.length);
      if (this.#rest.length === 0) this.#giving = false;
      this.#full = !this.#stream.write(encodeChunk(this.#phase, piece, !this.#giving && this.#last));
    }
    if (!this.busy) this.#onIdle();
  }
}
