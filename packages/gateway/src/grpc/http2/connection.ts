import type { Socket } from "node:net";
import { PREFIX_BYTES } from "../framing.ts";
import { GRPC_STATUS, type GrpcStatus } from "../status.ts";
import { type GrpcMethods, WINDOW_BYTES } from "../transport.ts";
import { Call, type CallHost } from "./call.ts";
import { DEFAULT_HEADER_TABLE_BYTES, DEFAULT_WINDOW_BYTES, ERROR, type ErrorCode, FLAG, FRAME, MAX_31_BITS, PREFACE } from "./constants.ts";
import { ConnectionError, frameSizeError, protocolError } from "./errors.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { HeaderBlocks } from "./header-blocks.ts";
import type { Limits } from "./limits.ts";
import type { RequestHeaders } from "./request-headers.ts";
import { ANSWER, NO_TABLE, NOT_GRPC, trailersOf } from "./response-headers.ts";
import { applySettings, defaultSettings, OWN_SETTINGS } from "./settings.ts";
import { Waste } from "./waste.ts";

/** Bytes that a connection's calls may send together before some are given back. What bounds memory is each call's own window. */
const CONNECTION_WINDOW_BYTES = 4 * WINDOW_BYTES;

const NOTHING = Buffer.alloc(0);
/** Payloads of this side's pings: what they ask. */
const PING_NOTICE = Buffer.from("aibrixgo", "latin1");
const PING_ALIVE = Buffer.from("aibrixup", "latin1");

/** What a connection needs of its server. */
export interface ConnectionDeps {
  readonly methods: GrpcMethods;
  readonly limits: Limits;
  /** Calls that the connection may have open at once. */
  readonly maxStreams: number;
  /** Shared by all connections of a server. */
  readonly pending: Pending;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** Bytes of messages that are not whole or wait, of all connections together. */
export interface Pending {
  bytes: number;
}

/** Frames may still come of a stream that this side has reset: of so many such streams they are ignored. A power of two. */
const REMEMBERED_RESETS = 1_024;

/** Where a client's stream is remembered; their numbers are odd. */
function placeOf(streamId: number): number {
  return (streamId >>> 1) & (REMEMBERED_RESETS - 1);
}

/** What clients send is nearly always the first. */
function isGrpc(contentType: string): boolean {
  return contentType === "application/grpc" || /^application\/grpc(?:[+;]|$)/.test(contentType);
}

/** A header block that comes in several frames. */
interface OpenBlock {
  readonly streamId: number;
  readonly endStream: boolean;
  readonly parts: Buffer[];
  bytes: number;
}

/** The server's end of one HTTP/2 connection (RFC 9113), in the clear, for calls of gRPC. */
export class Connection implements FrameSink, CallHost {
  readonly #socket: Socket;
  readonly #deps: ConnectionDeps;
  readonly #reader = new FrameReader(this);
  readonly #writer: FrameWriter;
  readonly #blocks = new HeaderBlocks();
  readonly #settings = defaultSettings();
  readonly #waste: Waste;
  readonly #calls = new Map<number, Call>();
  /** Calls whose answers wait for room. */
  readonly #waiting = new Set<Call>();
  /** Streams that this side has reset, each at the place of its number; later ones take it over. */
  readonly #resets = new Uint32Array(REMEMBERED_RESETS);
  /** What is missing of the client's preface. */
  #preface: Buffer | undefined = NOTHING;
  #settled = false;
  #block: OpenBlock | undefined;
  #lastId = 0;
  /** Above this, calls are refused. */
  #lastTaken = MAX_31_BITS;
  #window = DEFAULT_WINDOW_BYTES;
  #receiveWindow = CONNECTION_WINDOW_BYTES;
  #taken = 0;
  #tableIsUnused = false;
  #tellTable = false;
  #draining: "no" | "told" | "ending" = "no";
  #closed = false;
  // Times of the sweep.
  readonly #openedMs: number;
  #heardMs: number;
  #pinged = false;
  /** The header block that is not whole, or how many frames were whole before the one that is not. */
  #partial: OpenBlock | number | undefined;
  #partialMs = 0;
  #noticeMs = 0;
  #closedMs = 0;
  #stalledMs: number | undefined;
  #sentBytes = 0;

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.#writer = new FrameWriter(socket);
    const nowMs = deps.now();
    this.#openedMs = nowMs;
    this.#heardMs = nowMs;
    this.#waste = new Waste(deps.limits.wasteMs, deps.limits.wasteShare, nowMs);
    this.#writer.collect(() => {
      this.#writer.frame(FRAME.SETTINGS, 0, 0, OWN_SETTINGS);
      this.#writer.number(FRAME.WINDOW_UPDATE, 0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES);
    });
    socket.on("data", (chunk: Buffer) => this.#onBytes(chunk));
    socket.on("drain", () => this.#onDrain());
    socket.on("error", () => undefined); // "close" follows.
    socket.on("close", () => this.#end());
  }

  /** Calls that are not over. */
  get openCalls(): number {
    return this.#calls.size;
  }

  /** Tells the client to open no more calls, in two steps: what it has sent before it hears so is still served. */
  drain(): void {
    if (this.#draining !== "no" || this.#closed) return;
    this.#draining = "told";
    this.#noticeMs = this.#deps.now();
    this.#writer.collect(() => {
      this.#goAway(MAX_31_BITS, ERROR.NO_ERROR, "");
      this.#writer.frame(FRAME.PING, 0, 0, PING_NOTICE);
    });
  }

  /** Cuts everything. */
  destroy(): void {
    this.#end();
    this.#socket.destroy();
  }

  /** Looks for what has taken too long. To be called about once a second. */
  sweep(): void {
    const { limits, now } = this.#deps;
    const nowMs = now();
    const silentMs = nowMs - this.#heardMs;
    const isLate = this.#preface !== undefined && nowMs - this.#openedMs > limits.prefaceMs;
    if (this.#closed) {
      if (nowMs - this.#closedMs > limits.noticeMs) this.#socket.destroy();
      return;
    }
    if (isLate || this.#isStalled(nowMs) || silentMs > limits.silenceMs + limits.pingMs) {
      this.destroy();
      return;
    }
    const partial = this.#block ?? (this.#reader.inFrame ? this.#reader.finished : undefined);
    if (partial !== this.#partial) {
      this.#partial = partial;
      this.#partialMs = nowMs;
    }
    if (partial !== undefined && nowMs - this.#partialMs > limits.frameMs) {
      this.#fail(new ConnectionError(ERROR.ENHANCE_YOUR_CALM, "a frame was not finished in time"));
      return;
    }
    this.#writer.collect(() => {
      if (silentMs > limits.silenceMs && !this.#pinged && this.#preface === undefined) {
        this.#pinged = true;
        this.#writer.frame(FRAME.PING, 0, 0, PING_ALIVE);
      }
      for (const call of this.#waiting) if (nowMs - (call.stalledMs ?? nowMs) > limits.stallMs) this.#reset(call.id, ERROR.CANCEL);
      if (this.#draining === "told" && nowMs - this.#noticeMs > limits.noticeMs) this.#lastGoAway();
    });
  }

  // What calls need.

  room(): number {
    if (this.#writer.backlog > this.#deps.limits.backlogBytes) return 0;
    return Math.min(this.#window, this.#settings.frameBytes);
  }

  writeAnswer(call: Call): void {
    this.#headers(call.id, ANSWER, false);
  }

  writeData(call: Call, bytes: Buffer): void {
    this.#writer.frame(FRAME.DATA, 0, call.id, bytes);
    this.#window -= bytes.length;
    call.window -= bytes.length;
  }

  writeMessage(call: Call, message: Uint8Array): void {
    this.#writer.message(call.id, message);
    this.#window -= message.length + PREFIX_BYTES;
    call.window -= message.length + PREFIX_BYTES;
  }

  writeTrailers(call: Call, trailers: Buffer): void {
    this.#headers(call.id, call.hasAnswer ? trailers : Buffer.concat([ANSWER, trailers]), true);
    // With its end a client would only say what is known: for each call one more message, and one more turn of the event loop at both ends.
    if (!call.remoteEnded) this.#writeReset(call.id, ERROR.NO_ERROR);
    this.#close(call);
  }

  wait(call: Call): void {
    call.stalledMs ??= this.#deps.now(); // Windows that open elsewhere are no progress of this call.
    this.#waiting.add(call);
  }

  account(call: Call): void {
    const { pending } = call;
    this.#deps.pending.bytes += pending - call.accounted;
    call.accounted = pending;
  }

  refill(call: Call, bytes: number): void {
    this.#writer.number(FRAME.WINDOW_UPDATE, call.id, bytes);
  }

  // What comes in.

  #onBytes(chunk: Buffer): void {
    if (this.#closed) return;
    const startMs = this.#deps.now();
    this.#heardMs = startMs;
    this.#pinged = false;
    try {
      this.#writer.collect(() => {
        const bytes = this.#preface === undefined ? chunk : this.#takePreface(chunk);
        if (bytes !== undefined && bytes.length > 0) this.#reader.push(bytes);
      });
      if (this.#waste.turn(startMs, this.#deps.now())) {
        throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, "too much work for nothing");
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    // Answers to a peer that does not read them may not pile up.
    if (this.#writer.backlog > this.#deps.limits.backlogBytes) this.#socket.pause();
  }

  #takePreface(chunk: Buffer): Buffer | undefined {
    const bytes = this.#preface === undefined || this.#preface.length === 0 ? chunk : Buffer.concat([this.#preface, chunk]);
    const length = Math.min(bytes.length, PREFACE.length);
    if (bytes.compare(PREFACE, 0, length, 0, length) !== 0) throw protocolError("this is no HTTP/2");
    this.#preface = length < PREFACE.length ? bytes : undefined;
    return length < PREFACE.length ? undefined : bytes.subarray(length);
  }

  onData(streamId: number, part: Buffer, padding: number, last: boolean, endStream: boolean): void {
    if (!this.#settled) throw protocolError("the first frame is not SETTINGS");
    if (this.#block !== undefined) throw protocolError("a header block is not finished");
    if (streamId === 0) throw protocolError("DATA without a stream");
    const bytes = part.length + padding;
    this.#receiveWindow -= bytes;
    if (this.#receiveWindow < 0) throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, "more than the connection's window");
    this.#taken += bytes;
    if (this.#taken >= CONNECTION_WINDOW_BYTES / 2) {
      this.#writer.number(FRAME.WINDOW_UPDATE, 0, this.#taken);
      this.#receiveWindow += this.#taken;
      this.#taken = 0;
    }
    const call = this.#calls.get(streamId);
    if (call === undefined && endStream && this.#forgetReset(streamId)) return; // The client had not heard of it.
    if (call === undefined || call.remoteEnded) {
      this.#waste.futile();
      this.#refuseOnClosed(streamId, last);
      return;
    }
    if (part.length > 0 || endStream) this.#waste.useful();
    else this.#waste.futile();
    if (!call.receive(part, padding)) {
      this.#reset(streamId, ERROR.FLOW_CONTROL_ERROR);
      return;
    }
    if (!this.#calls.has(streamId)) return;
    const before = call.accounted;
    this.account(call);
    if (this.#deps.pending.bytes > this.#deps.limits.pendingBytes && call.accounted > before) {
      call.end(GRPC_STATUS.RESOURCE_EXHAUSTED, "too many bytes wait in this server");
    }
    if (endStream) this.#remoteEnd(call);
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (!this.#settled && type !== FRAME.SETTINGS) throw protocolError("the first frame is not SETTINGS");
    if (type !== FRAME.CONTINUATION && this.#block !== undefined) throw protocolError("a header block is not finished");
    switch (type) {
      case FRAME.HEADERS:
        this.#onHeaders(flags, streamId, payload);
        return;
      case FRAME.CONTINUATION:
        this.#onContinuation(flags, streamId, payload);
        return;
      case FRAME.RST_STREAM:
        this.#onReset(streamId, payload);
        return;
      case FRAME.WINDOW_UPDATE:
        this.#onWindowUpdate(streamId, payload);
        return;
      case FRAME.SETTINGS:
        this.#onSettings(flags, streamId, payload);
        return;
      case FRAME.PING:
        this.#onPing(flags, streamId, payload);
        return;
      case FRAME.PRIORITY:
        this.#waste.futile();
        if (streamId === 0) throw protocolError("PRIORITY without a stream");
        if (payload.length !== 5) this.#reset(streamId, ERROR.FRAME_SIZE_ERROR);
        return;
      case FRAME.PUSH_PROMISE:
        throw protocolError("a client cannot push");
      case FRAME.GOAWAY:
        if (streamId !== 0) throw protocolError("GOAWAY with a stream");
        if (payload.length < 8) throw frameSizeError("GOAWAY of less than eight bytes");
        this.#waste.futile();
        return; // The client opens no more calls, and closes when the last is over.
      default:
        this.#waste.futile(); // Of an extension that was not agreed upon.
    }
  }

  #onHeaders(flags: number, streamId: number, payload: Buffer): void {
    if (streamId === 0) throw protocolError("HEADERS without a stream");
    let start = 0;
    let end = payload.length;
    if ((flags & FLAG.PADDED) !== 0) {
      end -= payload[start++] ?? 0;
    }
    if ((flags & FLAG.PRIORITY) !== 0) start += 5;
    if (start > end) throw protocolError("a padding that is larger than its frame");
    const endStream = (flags & FLAG.END_STREAM) !== 0;
    const part = payload.subarray(start, end);
    if ((flags & FLAG.END_HEADERS) !== 0) this.#onBlock(streamId, part, endStream);
    else this.#block = { streamId, endStream, parts: [Buffer.from(part)], bytes: part.length };
  }

  #onContinuation(flags: number, streamId: number, payload: Buffer): void {
    const block = this.#block;
    if (block === undefined || block.streamId !== streamId) throw protocolError("CONTINUATION of no headers");
    block.parts.push(Buffer.from(payload));
    block.bytes += payload.length;
    const { headerBlockBytes, headerBlockFrames } = this.#deps.limits;
    if (block.bytes > headerBlockBytes || block.parts.length > headerBlockFrames) {
      throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, "a header block of too many bytes or frames");
    }
    if ((flags & FLAG.END_HEADERS) === 0) return;
    this.#block = undefined;
    this.#onBlock(streamId, Buffer.concat(block.parts, block.bytes), block.endStream);
  }

  #onBlock(streamId: number, block: Buffer, endStream: boolean): void {
    const call = this.#calls.get(streamId);
    if (call === undefined && streamId > this.#lastId) {
      this.#open(streamId, this.#blocks.request(block), endStream);
      return;
    }
    const trailers = this.#blocks.trailers(block);
    if (call !== undefined) this.#onTrailers(call, trailers, endStream);
    else this.#refuseOnClosed(streamId, true);
  }

  #onTrailers(call: Call, headers: RequestHeaders, endStream: boolean): void {
    if (call.remoteEnded) this.#reset(call.id, ERROR.STREAM_CLOSED);
    else if (!endStream || headers.malformed !== undefined || headers.tooLarge) this.#reset(call.id, ERROR.PROTOCOL_ERROR);
    else this.#remoteEnd(call);
  }

  #open(streamId: number, headers: RequestHeaders, endStream: boolean): void {
    if ((streamId & 1) === 0) throw protocolError("a client's stream has an even number");
    this.#lastId = streamId;
    const { methods, maxStreams } = this.#deps;
    const method = methods.get(headers.path ?? "");
    if (headers.malformed !== undefined) {
      this.#reset(streamId, ERROR.PROTOCOL_ERROR);
    } else if (streamId > this.#lastTaken || this.#calls.size >= maxStreams) {
      this.#reset(streamId, ERROR.REFUSED_STREAM);
    } else if (headers.method !== "POST" || !isGrpc(headers.contentType)) {
      this.#answerAtOnce(streamId, NOT_GRPC, endStream);
    } else if (headers.tooLarge) {
      this.#refuse(streamId, GRPC_STATUS.RESOURCE_EXHAUSTED, "the headers are too large", endStream);
    } else if (method === undefined) {
      this.#refuse(streamId, GRPC_STATUS.UNIMPLEMENTED, "this server has no such method", endStream);
    } else {
      const call = new Call(streamId, this.#settings.windowBytes, this, method);
      this.#calls.set(streamId, call);
      if (endStream) this.#remoteEnd(call);
    }
  }

  #onReset(streamId: number, payload: Buffer): void {
    if (payload.length !== 4) throw frameSizeError("RST_STREAM of other than four bytes");
    this.#expectKnown(streamId);
    const call = this.#calls.get(streamId);
    if (this.#forgetReset(streamId)) return; // Both ends have reset it.
    // An Envoy ends its calls by a reset, once they are answered; before that where its own client has gone, which is no one's fault.
    if (call?.answered === true) this.#waste.useful();
    else if (call?.hadMessage !== true) this.#waste.futile();
    if (call !== undefined) this.#close(call);
  }

  #onWindowUpdate(streamId: number, payload: Buffer): void {
    if (payload.length !== 4) throw frameSizeError("WINDOW_UPDATE of other than four bytes");
    const bytes = payload.readUInt32BE(0) & MAX_31_BITS;
    if (this.#waiting.size > 0) this.#waste.useful();
    else this.#waste.futile();
    if (streamId === 0) {
      if (bytes === 0) throw protocolError("WINDOW_UPDATE by nothing");
      this.#window += bytes;
      if (this.#window > MAX_31_BITS) throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, "the connection's window has more than 31 bits");
      this.#pump();
      return;
    }
    this.#expectKnown(streamId);
    const call = this.#calls.get(streamId);
    if (call === undefined) return;
    if (bytes === 0) this.#reset(streamId, ERROR.PROTOCOL_ERROR);
    else if (!call.widen(bytes)) this.#reset(streamId, ERROR.FLOW_CONTROL_ERROR);
    else if (this.#waiting.delete(call)) call.pump();
  }

  #onSettings(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError("SETTINGS with a stream");
    this.#waste.futile();
    if ((flags & FLAG.ACK) !== 0) {
      if (payload.length > 0) throw frameSizeError("an acknowledgement with settings");
      return;
    }
    const before = this.#settings.windowBytes;
    applySettings(this.#settings, payload);
    this.#settled = true;
    this.#writer.frame(FRAME.SETTINGS, FLAG.ACK, 0, NOTHING);
    if (this.#settings.headerTableBytes < DEFAULT_HEADER_TABLE_BYTES && !this.#tableIsUnused) this.#tellTable = true;
    const change = this.#settings.windowBytes - before;
    if (change === 0) return;
    for (const call of this.#calls.values()) {
      if (!call.widen(change)) throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, "a call's window has more than 31 bits");
    }
    this.#pump();
  }

  #onPing(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError("PING with a stream");
    if (payload.length !== 8) throw frameSizeError("PING of other than eight bytes");
    this.#waste.futile();
    if ((flags & FLAG.ACK) === 0) this.#writer.frame(FRAME.PING, FLAG.ACK, 0, payload);
    else if (this.#draining === "told" && payload.equals(PING_NOTICE)) this.#lastGoAway();
  }

  #expectKnown(streamId: number): void {
    if (streamId === 0) throw protocolError("a frame without a stream");
    if (streamId > this.#lastId) throw protocolError("a frame of a stream that is not open");
  }

  /** Frames of a stream that is closed end nothing else; what was under way when this side reset it is ignored. */
  #refuseOnClosed(streamId: number, last: boolean): void {
    this.#expectKnown(streamId);
    this.#waste.futile();
    if (last && this.#resets[placeOf(streamId)] !== streamId) this.#reset(streamId, ERROR.STREAM_CLOSED);
  }

  // What ends calls and the connection.

  #refuse(streamId: number, status: GrpcStatus, details: string, endStream: boolean): void {
    this.#answerAtOnce(streamId, Buffer.concat([ANSWER, trailersOf(status, details)]), endStream);
  }

  /** Answers a call that is not opened. */
  #answerAtOnce(streamId: number, block: Buffer, endStream: boolean): void {
    this.#waste.futile();
    this.#headers(streamId, block, true);
    if (!endStream) this.#writeReset(streamId, ERROR.NO_ERROR);
    this.#endIfIdle();
  }

  #remoteEnd(call: Call): void {
    call.receiveEnd();
    if (call.written) this.#close(call);
  }

  #reset(streamId: number, code: ErrorCode): void {
    if (code !== ERROR.NO_ERROR) this.#waste.futile();
    this.#writeReset(streamId, code);
    const call = this.#calls.get(streamId);
    if (call !== undefined) this.#close(call);
    else this.#endIfIdle();
  }

  #writeReset(streamId: number, code: ErrorCode): void {
    this.#writer.number(FRAME.RST_STREAM, streamId, code);
    this.#resets[placeOf(streamId)] = streamId;
  }

  /** Notes that no more comes of a stream; false where this side has not reset it. */
  #forgetReset(streamId: number): boolean {
    const place = placeOf(streamId);
    if (this.#resets[place] !== streamId || streamId === 0) return false;
    this.#resets[place] = 0;
    return true;
  }

  #close(call: Call): void {
    if (!this.#calls.delete(call.id)) return;
    this.#waiting.delete(call);
    call.close();
    this.account(call);
    this.#endIfIdle();
  }

  #headers(streamId: number, block: Buffer, endStream: boolean): void {
    if (this.#tellTable) {
      this.#tellTable = false;
      this.#tableIsUnused = true;
      this.#writer.headers(streamId, Buffer.concat([NO_TABLE, block]), endStream);
      return;
    }
    this.#writer.headers(streamId, block, endStream);
  }

  #pump(): void {
    if (this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const call of waiting) call.pump();
  }

  #onDrain(): void {
    if (this.#closed) return;
    this.#socket.resume();
    this.#writer.collect(() => this.#pump());
  }

  #goAway(lastId: number, code: ErrorCode, why: string): void {
    const text = Buffer.from(why);
    const payload = Buffer.allocUnsafe(8 + text.length);
    payload.writeUInt32BE(lastId, 0);
    payload.writeUInt32BE(code, 4);
    payload.set(text, 8);
    this.#writer.frame(FRAME.GOAWAY, 0, 0, payload);
  }

  #lastGoAway(): void {
    this.#draining = "ending";
    this.#lastTaken = this.#lastId;
    this.#goAway(this.#lastId, ERROR.NO_ERROR, "");
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#draining !== "ending" || this.#calls.size > 0 || this.#closed) return;
    this.#writer.flush();
    this.#socket.end();
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    const [code, why] =
      error instanceof ConnectionError ? [error.code, error.message] : [ERROR.INTERNAL_ERROR, "an error of the server's own"];
    this.#goAway(this.#lastId, code, why);
    this.#writer.flush();
    this.#end();
    // What still comes is read and thrown away until the sweep: a socket that is closed with bytes unread takes the GOAWAY with it.
    this.#socket.end();
    this.#socket.resume();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closedMs = this.#deps.now();
    for (const call of [...this.#calls.values()]) this.#close(call);
  }

  #isStalled(nowMs: number): boolean {
    const sent = this.#socket.bytesWritten - this.#writer.backlog;
    const moves = this.#writer.backlog === 0 || sent !== this.#sentBytes;
    this.#sentBytes = sent;
    this.#stalledMs = moves ? undefined : (this.#stalledMs ?? nowMs);
    return this.#stalledMs !== undefined && nowMs - this.#stalledMs > this.#deps.limits.stallMs;
  }
}
