import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { FLAG, FRAME, FRAME_HEADER_BYTES, PREFACE } from "../../src/grpc/http2/constants.ts";
import { until } from "./wait.ts";

/** A frame as it is on the wire. */
export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** Writes a frame. */
export function frame(type: number, flags: number, streamId: number, payload: Buffer | readonly number[] = []): Buffer {
  const bytes = Buffer.from(payload);
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUIntBE(bytes.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, bytes]);
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, i * 4);
  return bytes;
}

/** One setting. */
export function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

export const SETTINGS: Buffer = frame(FRAME.SETTINGS, 0, 0);

/** A header that is added to no table. */
export function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);
}

/** The headers of a call of gRPC. */
export function callBlock(path: string): Buffer {
  const fields = { ":method": "POST", ":scheme": "http", ":path": path, "content-type": "application/grpc", te: "trailers" };
  return Buffer.concat(Object.entries(fields).map(([name, value]) => literal(name, value)));
}

export function headers(streamId: number, block: Buffer, flags: number = FLAG.END_HEADERS): Buffer {
  return frame(FRAME.HEADERS, flags, streamId, block);
}

/** A message of gRPC in one DATA frame. */
export function message(streamId: number, bytes: Buffer, flags = 0): Buffer {
  return frame(FRAME.DATA, flags, streamId, Buffer.concat([Buffer.from([0]), u32(bytes.length), bytes]));
}

/** A client that writes what a test wants, and reads frames. */
export class RawHttp2 {
  readonly socket: Socket;
  readonly frames: RawFrame[] = [];
  closed = false;
  /** Told of each frame as it comes. */
  onFrame: (frame: RawFrame) => void = () => undefined;
  #rest = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.closed = true;
    });
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
  }

  /** Connects and says what a client says first. */
  static async open(port: number, first: Buffer = Buffer.concat([PREFACE, SETTINGS])): Promise<RawHttp2> {
    const socket = connect(port, "127.0.0.1");
    const client = new RawHttp2(socket);
    await once(socket, "connect");
    socket.write(first);
    return client;
  }

  send(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** The first frame of this kind, now or soon. */
  async frame(type: number, matches: (frame: RawFrame) => boolean = () => true): Promise<RawFrame> {
    return await until(`a frame ${type}`, () => this.frames.find((f) => f.type === type && matches(f)));
  }

  /** The code of the GOAWAY that ends the connection. */
  async goAway(): Promise<number> {
    const { payload } = await this.frame(FRAME.GOAWAY);
    await until("it is closed", () => this.closed);
    return payload.readUInt32BE(4);
  }

  /** The code of a stream's RST_STREAM. */
  async reset(streamId: number): Promise<number> {
    const { payload } = await this.frame(FRAME.RST_STREAM, (f) => f.streamId === streamId);
    return payload.readUInt32BE(0);
  }

  /** Waits until all that was sent has been worked on. */
  async settle(mark: number): Promise<void> {
    this.send(frame(FRAME.PING, 0, 0, u32(0, mark)));
    await this.frame(FRAME.PING, (f) => f.payload.equals(u32(0, mark)));
  }

  #read(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + bytes.readUIntBE(0, 3);
      if (bytes.length < end) break;
      const [type = 0, flags = 0] = [bytes[3], bytes[4]];
      const read = { type, flags, streamId: bytes.readUInt32BE(5), payload: bytes.subarray(FRAME_HEADER_BYTES, end) };
      this.frames.push(read);
      this.onFrame(read);
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }
}
