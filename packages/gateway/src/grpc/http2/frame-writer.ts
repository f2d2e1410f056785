import type { Socket } from "node:net";
import { PREFIX_BYTES, writePrefix } from "../framing.ts";
import { FLAG, FRAME, FRAME_HEADER_BYTES } from "./constants.ts";

/** Frames are written into pieces of this size, one after the other: a piece holds the answers to hundreds of calls. */
const SLAB_BYTES = 64 * 1024;

/** Writes frames. All that is written in one turn of the event loop goes to the socket at once. */
export class FrameWriter {
  readonly #socket: Socket;
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** What is written and not given to the socket: from here to {@link #at}, and the full pieces before. */
  #from = 0;
  #at = 0;
  #full: Buffer[] = [];
  #fullBytes = 0;
  #scheduled = false;
  #held = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that the peer has not taken. */
  get backlog(): number {
    return this.#socket.writableLength + this.#fullBytes + this.#at - this.#from;
  }

  /** Collects what `work` writes, and flushes once. */
  collect(work: () => void): void {
    this.#held = true;
    try {
      work();
    } finally {
      this.#held = false;
      this.flush();
    }
  }

  frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.#header(payload.length, type, flags, streamId);
    this.#slab.set(payload, this.#at);
    this.#at += payload.length;
  }

  /** A whole message in one DATA frame. */
  message(streamId: number, message: Uint8Array): void {
    this.#header(message.length + PREFIX_BYTES, FRAME.DATA, 0, streamId);
    writePrefix(this.#slab, this.#at, message.length);
    this.#slab.set(message, this.#at + PREFIX_BYTES);
    this.#at += message.length + PREFIX_BYTES;
  }

  headers(streamId: number, block: Uint8Array, endStream: boolean): void {
    this.frame(FRAME.HEADERS, FLAG.END_HEADERS | (endStream ? FLAG.END_STREAM : 0), streamId, block);
  }

  /** A frame whose payload is one number of 32 bits. */
  number(type: number, streamId: number, value: number): void {
    this.#header(4, type, 0, streamId);
    this.#at = this.#slab.writeUInt32BE(value, this.#at);
  }

  /** Gives all to the socket. */
  flush(): void {
    this.#scheduled = false;
    const socket = this.#socket;
    const last = this.#slab.subarray(this.#from, this.#at);
    this.#from = this.#at;
    if (this.#full.length === 0) {
      if (last.length > 0 && socket.writable) socket.write(last);
      return;
    }
    const pieces = this.#full;
    this.#full = [];
    this.#fullBytes = 0;
    if (!socket.writable) return;
    socket.cork();
    for (const piece of pieces) socket.write(piece);
    if (last.length > 0) socket.write(last);
    socket.uncork();
  }

  /** Makes room for a frame and writes its header. */
  #header(length: number, type: number, flags: number, streamId: number): void {
    const bytes = FRAME_HEADER_BYTES + length;
    if (this.#at + bytes > this.#slab.length) {
      if (this.#at > this.#from) {
        this.#full.push(this.#slab.subarray(this.#from, this.#at));
        this.#fullBytes += this.#at - this.#from;
      }
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes));
      this.#from = 0;
      this.#at = 0;
    }
    const slab = this.#slab;
    const at = this.#at;
    slab[at] = length >>> 16;
    slab[at + 1] = length >>> 8;
    slab[at + 2] = length;
    slab[at + 3] = type;
    slab[at + 4] = flags;
    slab.writeUInt32BE(streamId, at + 5);
    this.#at = at + FRAME_HEADER_BYTES;
    if (this.#held || this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => this.flush());
  }
}
