import { DEFAULT_FRAME_BYTES, FLAG, FRAME, FRAME_HEADER_BYTES, MAX_31_BITS } from "./constants.ts";
import { frameSizeError, protocolError } from "./errors.ts";

/** Who gets the frames. What it throws goes through {@link FrameReader.push}. */
export interface FrameSink {
  /** A part of a DATA frame, as it comes; `last` with the frame's last one. `padding` are bytes that only count for flow control. */
  onData(streamId: number, part: Buffer, padding: number, last: boolean, endStream: boolean): void;
  /** Any other frame, whole. The payload is only good during the call. */
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void;
}

const NOTHING = Buffer.alloc(0);

/** Cuts a connection's bytes into frames. Bytes of DATA are handed on as they come and never copied. */
export class FrameReader {
  readonly #sink: FrameSink;
  /** A frame's header, and all of a frame that must be whole. */
  #rest: Buffer = NOTHING;
  /** Of the DATA frame that is under way. */
  #dataLeft = 0;
  #dataStream = 0;
  #dataEnds = false;
  #finished = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Whether a frame has begun and not ended. */
  get inFrame(): boolean {
    return this.#rest.length > 0 || this.#dataLeft > 0;
  }

  /** How many frames have ended. */
  get finished(): number {
    return this.#finished;
  }

  /** @throws ConnectionError for frames that are too large, and what the sink throws */
  push(chunk: Buffer): void {
    let at = this.#dataLeft > 0 ? this.#data(chunk, 0) : 0;
    if (at === chunk.length) return;
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = NOTHING;
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const length = bytes.readUIntBE(at, 3);
      if (length > DEFAULT_FRAME_BYTES) throw frameSizeError(`a frame of ${length} bytes`);
      const type = bytes[at + 3] ?? 0;
      const flags = bytes[at + 4] ?? 0;
      const streamId = bytes.readUInt32BE(at + 5) & MAX_31_BITS;
      const start = at + FRAME_HEADER_BYTES;
      if (type === FRAME.DATA && (flags & FLAG.PADDED) === 0) {
        this.#dataLeft = length;
        this.#dataStream = streamId;
        this.#dataEnds = (flags & FLAG.END_STREAM) !== 0;
        at = this.#data(bytes, start);
        continue;
      }
      const end = start + length;
      if (end > bytes.length) break;
      this.#finished += 1;
      if (type === FRAME.DATA) this.#padded(flags, streamId, bytes.subarray(start, end));
      else this.#sink.onFrame(type, flags, streamId, bytes.subarray(start, end));
      at = end;
    }
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at)); // A copy: it is small, and the chunk is not.
  }

  #data(bytes: Buffer, at: number): number {
    const end = at + Math.min(this.#dataLeft, bytes.length - at);
    this.#dataLeft -= end - at;
    const last = this.#dataLeft === 0;
    if (last) this.#finished += 1;
    if (last || end > at) this.#sink.onData(this.#dataStream, bytes.subarray(at, end), 0, last, last && this.#dataEnds);
    return end;
  }

  #padded(flags: number, streamId: number, payload: Buffer): void {
    const pad = payload[0];
    if (pad === undefined || pad >= payload.length) throw protocolError("a padding that is larger than its frame");
    const part = payload.subarray(1, payload.length - pad);
    this.#sink.onData(streamId, part, pad + 1, true, (flags & FLAG.END_STREAM) !== 0);
  }
}
