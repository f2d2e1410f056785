import type { OnReadOpts, Socket } from "node:net";

/** One read of a socket takes as much as has come, up to this; Node by itself takes 64 KiB, and a new buffer, each time. */
const SLAB_BYTES = 512 * 1024;
/** A read into less room than this is not worth its cost. */
const LEAST_BYTES = 64 * 1024;
/** Memory that waits to be used again, at most: enough for the connections of some downloads. */
const MAX_IDLE_SLABS = 32;

/** Memory that a socket is read into, from its start on. */
interface Slab {
  readonly memory: Buffer;
  /** Bytes that were read into it, and how many of these nobody needs any more. */
  filled: number;
  recycled: number;
  /** It is read into. */
  open: boolean;
}

/** What ends the head of an answer. */
const END_OF_HEAD = "\r\n\r\n";

/**
 * Memory for large reads of sockets that HTTP/1.1 comes over. What was read is given back by {@link recycle}, once its bytes are where they
 * belong; memory of which some bytes never come back (what nobody wanted, for example) is left to the garbage collector.
 */
export class WideReads {
  readonly #idle: Buffer[] = [];
  readonly #slabs = new WeakMap<ArrayBufferLike, Slab>();

  /**
   * How a new connection is to be read: options for `net.connect`, and its socket's introduction, which is due before it is read.
   */
  forSocket(): { readonly options: object; readonly attach: (socket: Socket) => void } {
    let slab: Slab | undefined;
    let socket: Socket | undefined;
    let askedBytes = 0;
    const buffer = () => {
      if (slab === undefined || SLAB_BYTES - slab.filled < LEAST_BYTES) {
        if (slab !== undefined) this.#close(slab);
        slab = this.#take();
      }
      return slab.memory.subarray(slab.filled);
    };
    const callback = (bytes: number) => {
      if (slab === undefined || socket === undefined) return false;
      const chunk = slab.memory.subarray(slab.filled, slab.filled + bytes);
      slab.filled += bytes;
      // A request was written, so this is the start of its answer: its head is read at once, and nobody gives that back.
      if (socket.bytesWritten !== askedBytes) slab.recycled += headBytes(chunk);
      askedBytes = socket.bytesWritten;
      return socket.push(chunk);
    };
    const onread: OnReadOpts = { buffer, callback };
    return {
      // What waits to be taken is one read: several would be copied into one buffer then, whose memory is none of these.
      options: { onread, highWaterMark: undefined, readableHighWaterMark: 1 },
      attach: (connected) => {
        socket = connected;
        connected.once("close", () => {
          if (slab !== undefined) this.#close(slab);
          slab = undefined;
        });
      },
    };
  }

  /** Says that nobody reads these bytes again. Bytes from elsewhere are none of its business. */
  recycle(bytes: Uint8Array): void {
    const slab = this.#slabs.get(bytes.buffer);
    if (slab === undefined) return;
    slab.recycled += bytes.length;
    this.#settle(slab);
  }

  #take(): Slab {
    const memory = this.#idle.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
    const slab: Slab = { memory, filled: 0, recycled: 0, open: true };
    this.#slabs.set(memory.buffer, slab);
    return slab;
  }

  #close(slab: Slab): void {
    slab.open = false;
    this.#settle(slab);
  }

  #settle(slab: Slab): void {
    if (slab.open || slab.recycled !== slab.filled) return;
    this.#slabs.delete(slab.memory.buffer);
    if (this.#idle.length < MAX_IDLE_SLABS) this.#idle.push(slab.memory);
  }
}

/** The length of an answer's head, or 0 where it does not end here. */
function headBytes(chunk: Buffer): number {
  if (chunk.toString("latin1", 0, 5) !== "HTTP/") return 0;
  const end = chunk.subarray(0, LEAST_BYTES).indexOf(END_OF_HEAD, 0, "latin1");
  return end < 0 ? 0 : end + END_OF_HEAD.length;
}
