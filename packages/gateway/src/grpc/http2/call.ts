import { MessageReader, PREFIX_BYTES, writePrefix } from "../framing.ts";
import { GRPC_STATUS, type GrpcStatus } from "../status.ts";
import { type GrpcHandler, type GrpcStream, WINDOW_BYTES } from "../transport.ts";
import { MAX_31_BITS } from "./constants.ts";
import { trailersOf } from "./response-headers.ts";

/** What a call needs of its connection. */
export interface CallHost {
  /** Bytes that may be written of an answer now: what the connection's window, the socket and the largest frame allow. */
  room(): number;
  /** Writes a part of an answer and takes it from the connection's window. */
  writeData(call: Call, bytes: Buffer): void;
  /** Writes a whole message, as {@link CallHost.writeData}. */
  writeMessage(call: Call, message: Uint8Array): void;
  writeAnswer(call: Call): void;
  /** Writes the trailers, which end the answer. */
  writeTrailers(call: Call, trailers: Buffer): void;
  /** Has {@link Call.pump} called when there may be room. */
  wait(call: Call): void;
  /** To be told when {@link Call.pending} has changed other than by {@link Call.receive}. */
  account(call: Call): void;
  /** Opens the call's window again by so many bytes. */
  refill(call: Call, bytes: number): void;
}

/** One call of a client: a stream of HTTP/2. */
export class Call implements GrpcStream {
  readonly id: number;
  /** Bytes that the peer still takes of this call. */
  window: number;
  /** Since when there is no room for what it has to write, in milliseconds. */
  stalledMs: number | undefined;
  /** What its connection counts of {@link Call.pending}. */
  accounted = 0;
  /** Whether the client has ended its part. */
  remoteEnded = false;
  /** Whether all that this side sends is written. */
  written = false;
  readonly #host: CallHost;
  readonly #handler: GrpcHandler;
  readonly #reader: MessageReader;
  /** Messages that came while the handler had paused. */
  readonly #held: Buffer[] = [];
  #heldBytes = 0;
  #paused = false;
  #messages = 0;
  /** Whether the handler has ended the call, or lost it. */
  #ended = false;
  #answered = false;
  /** What there was no room for: framed messages, and how much of the first is written. */
  readonly #queue: Buffer[] = [];
  #queueAt = 0;
  #trailers: Buffer | undefined;
  /** What the client may still send, and what of that was taken and not given back. */
  #receiveWindow = WINDOW_BYTES;
  #taken = 0;

  constructor(id: number, window: number, host: CallHost, method: (stream: GrpcStream) => GrpcHandler) {
    this.id = id;
    this.window = window;
    this.#host = host;
    this.#reader = new MessageReader((message) => this.#deliver(message));
    this.#handler = method(this);
  }

  /** Whether the answer's headers are written. */
  get hasAnswer(): boolean {
    return this.#answered;
  }

  /** Whether anything was said to the client. */
  get answered(): boolean {
    return this.#answered || this.written;
  }

  /** Whether the client has sent a whole message. */
  get hadMessage(): boolean {
    return this.#messages > 0;
  }

  /** Bytes that it holds of messages that are not whole, or wait. */
  get pending(): number {
    return this.#reader.pending + this.#heldBytes;
  }

  /**
   * Takes bytes of the client.
   *
   * @returns false where the client sends more than it may
   */
  receive(part: Buffer, padding: number): boolean {
    const bytes = part.length + padding;
    this.#receiveWindow -= bytes;
    if (this.#receiveWindow < 0) return false;
    if (this.#ended) return true;
    this.#taken += bytes;
    const error = this.#reader.push(part);
    if (error !== undefined) this.end(error.status, error.details);
    this.#giveBack();
    return true;
  }

  /** The client sends no more. */
  receiveEnd(): void {
    this.remoteEnded = true;
    this.#tellEnd();
  }

  /** The call is over; nothing is written any more. */
  close(): void {
    this.#ended = true;
    this.#drop();
    this.#handler.onClosed();
  }

  /** Changes what the peer takes. Gives false where that is more than a window can be. */
  widen(bytes: number): boolean {
    this.window += bytes;
    return this.window <= MAX_31_BITS;
  }

  /** Writes what waits, as far as there is room, and asks for more where all is written. */
  pump(): void {
    this.#flush();
    if (this.#queue.length === 0 && !this.#ended) this.#handler.onDrain?.();
  }

  #flush(): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const bytes = Math.min(this.window, this.#host.room(), first.length - this.#queueAt);
      if (bytes <= 0) {
        this.#host.wait(this);
        return;
      }
      this.stalledMs = undefined;
      this.#host.writeData(this, first.subarray(this.#queueAt, this.#queueAt + bytes));
      this.#queueAt += bytes;
      if (this.#queueAt < first.length) continue;
      this.#queue.shift();
      this.#queueAt = 0;
    }
    if (this.#trailers !== undefined && !this.written) this.#finish(this.#trailers);
  }

  write(message: Uint8Array): boolean {
    if (this.#ended) return true;
    if (!this.#answered) {
      this.#answered = true;
      this.#host.writeAnswer(this);
    }
    const bytes = message.length + PREFIX_BYTES;
    if (this.#queue.length === 0 && bytes <= this.window && bytes <= this.#host.room()) {
      this.#host.writeMessage(this, message);
      return true;
    }
    const framed = Buffer.allocUnsafe(bytes);
    writePrefix(framed, 0, message.length);
    framed.set(message, PREFIX_BYTES);
    this.#queue.push(framed);
    this.#flush();
    return this.#queue.length === 0;
  }

  end(status: GrpcStatus, details = ""): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#dropReceived();
    this.#host.account(this);
    const trailers = trailersOf(status, details);
    if (this.#queue.length === 0) this.#finish(trailers);
    else this.#trailers = trailers;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    for (let message = this.#next(); message !== undefined; message = this.#next()) {
      this.#heldBytes -= message.length;
      this.#handler.onMessage(message);
    }
    this.#host.account(this);
    this.#giveBack();
    this.#tellEnd();
  }

  #finish(trailers: Buffer): void {
    this.written = true;
    this.#host.writeTrailers(this, trailers);
  }

  // To set an array's length is slow, even where it is 0 already, which it is for nearly every call.

  #dropReceived(): void {
    if (this.#held.length > 0) this.#held.length = 0;
    this.#heldBytes = 0;
    this.#reader.drop();
  }

  #drop(): void {
    this.#dropReceived();
    if (this.#queue.length > 0) this.#queue.length = 0;
    this.#trailers = undefined;
  }

  #next(): Buffer | undefined {
    return this.#paused || this.#ended ? undefined : this.#held.shift();
  }

  #deliver(message: Buffer): void {
    if (this.#ended) return;
    this.#messages += 1;
    if (!this.#paused) {
      this.#handler.onMessage(message);
      return;
    }
    this.#held.push(message);
    this.#heldBytes += message.length;
  }

  #tellEnd(): void {
    if (!this.remoteEnded || this.#paused || this.#ended) return;
    if (this.#reader.pending > 0) this.end(GRPC_STATUS.INTERNAL, "the call ended in the middle of a message");
    else this.#handler.onEnd();
  }

  /** What waits for its handler is not given back: the window bounds it. */
  #giveBack(): void {
    if (this.#paused || this.#ended || this.remoteEnded || this.#taken < WINDOW_BYTES / 2) return;
    this.#receiveWindow += this.#taken;
    this.#host.refill(this, this.#taken);
    this.#taken = 0;
  }
}
