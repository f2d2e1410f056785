import { GRPC_STATUS, type GrpcStatus } from "./status.ts";
import { MAX_MESSAGE_BYTES } from "./transport.ts";

/** Bytes before a message: whether it is compressed, and its length. */
export const PREFIX_BYTES = 5;

/** What a message may claim of memory before its bytes are there; it grows by this factor as they come. */
const FIRST_BYTES = 64 * 1024;
const GROWTH = 4;

/** What makes a call's bytes unreadable. */
export interface FramingError {
  readonly status: GrpcStatus;
  readonly details: string;
}

/** Writes gRPC's prefix for a message that is not compressed. */
export function writePrefix(target: Buffer, at: number, messageBytes: number): void {
  target[at] = 0;
  target.writeUInt32BE(messageBytes, at + 1);
}

/** Puts a call's bytes together to messages. A message that comes in one piece is not copied. */
export class MessageReader {
  readonly #onMessage: (message: Buffer) => void;
  readonly #maxBytes: number;
  #prefix: Buffer | undefined;
  #prefixBytes = 0;
  #message: Buffer | undefined;
  #messageBytes = 0;
  #need = 0;
  #dropped = false;

  constructor(onMessage: (message: Buffer) => void, maxBytes: number = MAX_MESSAGE_BYTES) {
    this.#onMessage = onMessage;
    this.#maxBytes = maxBytes;
  }

  /** Bytes of a message that is not whole. */
  get pending(): number {
    return this.#message === undefined ? this.#prefixBytes : this.#messageBytes + PREFIX_BYTES;
  }

  /** Forgets the message that is not whole, and takes no more. */
  drop(): void {
    this.#dropped = true;
    this.#message = undefined;
    this.#prefixBytes = 0;
  }

  /** Takes the next bytes. After an error nothing more may be pushed. */
  push(chunk: Buffer): FramingError | undefined {
    let at = 0;
    while (at < chunk.length && !this.#dropped) {
      if (this.#message !== undefined) {
        at += this.#fill(this.#message, chunk, at);
        continue;
      }
      let need: number | FramingError;
      if (this.#prefixBytes === 0 && chunk.length - at >= PREFIX_BYTES) {
        need = lengthAt(chunk, at, this.#maxBytes);
        at += PREFIX_BYTES;
      } else {
        this.#prefix ??= Buffer.allocUnsafe(PREFIX_BYTES);
        this.#prefix[this.#prefixBytes++] = chunk[at++] ?? 0;
        if (this.#prefixBytes < PREFIX_BYTES) continue;
        this.#prefixBytes = 0;
        need = lengthAt(this.#prefix, 0, this.#maxBytes);
      }
      if (typeof need !== "number") return need;
      if (chunk.length - at >= need) {
        at += need;
        this.#onMessage(chunk.subarray(at - need, at));
      } else {
        this.#need = need;
        this.#messageBytes = 0;
        this.#message = Buffer.allocUnsafe(Math.min(need, FIRST_BYTES));
      }
    }
    return undefined;
  }

  /** Takes what the message that is under way needs; tells how much that was. */
  #fill(message: Buffer, chunk: Buffer, at: number): number {
    const taken = Math.min(this.#need - this.#messageBytes, chunk.length - at);
    const bytes = this.#messageBytes + taken;
    if (bytes > message.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#need, Math.max(bytes, message.length * GROWTH)));
      message.copy(grown, 0, 0, this.#messageBytes);
      this.#message = message = grown;
    }
    chunk.copy(message, this.#messageBytes, at, at + taken);
    this.#messageBytes = bytes;
    if (bytes === this.#need) {
      this.#message = undefined;
      this.#onMessage(message);
    }
    return taken;
  }
}

/** Bytes of the message behind a prefix, or why it cannot be taken. */
function lengthAt(bytes: Buffer, at: number, maxBytes: number): number | FramingError {
  const flag = bytes[at];
  if (flag === 1) return { status: GRPC_STATUS.UNIMPLEMENTED, details: "compressed messages are not taken: send without grpc-encoding" };
  if (flag !== 0) return { status: GRPC_STATUS.INTERNAL, details: "the bytes are no gRPC message" };
  const length = bytes.readUInt32BE(at + 1);
  if (length > maxBytes) {
    return { status: GRPC_STATUS.RESOURCE_EXHAUSTED, details: `a message of ${length} bytes; at most ${maxBytes} are taken` };
  }
  return length;
}
