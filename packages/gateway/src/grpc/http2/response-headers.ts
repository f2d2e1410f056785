import { escapeDetails, GRPC_STATUS, type GrpcStatus } from "../status.ts";

/** Details are cut here: a block must fit into the smallest frame. */
const MAX_DETAILS = 1_000;

const LITERAL = 0x00; // Not added to the peer's table: this side holds no state.
const STATUS_200 = Buffer.from([0x88]);
const STATUS_415 = Buffer.concat([Buffer.from([0x08]), stringOf("415")]); // Literal, by the name of entry 8.
const CONTENT_TYPE = Buffer.concat([Buffer.from([0x0f, 31 - 15]), stringOf("application/grpc")]); // Literal, by the name of entry 31.

/** The headers of an answer. */
export const ANSWER: Buffer = Buffer.concat([STATUS_200, CONTENT_TYPE]);
/** The whole answer to what is no gRPC. */
export const NOT_GRPC: Buffer = STATUS_415;
/** Tells the peer that this side uses no table. It must precede the next block where the peer has made its table smaller. */
export const NO_TABLE: Buffer = Buffer.from([0x20]);

const OK = encodeStatus(GRPC_STATUS.OK, "");

/** The trailers of an answer. */
export function trailersOf(status: GrpcStatus, details: string): Buffer {
  return status === GRPC_STATUS.OK && details === "" ? OK : encodeStatus(status, details);
}

function encodeStatus(status: GrpcStatus, details: string): Buffer {
  const message = details === "" ? [] : [headerOf("grpc-message", escapeDetails(details.slice(0, MAX_DETAILS)))];
  return Buffer.concat([headerOf("grpc-status", String(status)), ...message]);
}

function headerOf(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([LITERAL]), stringOf(name), stringOf(value)]);
}

/** A string without Huffman's code: the few bytes are not worth it. */
function stringOf(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([integerOf(bytes.length), bytes]);
}

function integerOf(value: number): Buffer {
  if (value < 0x7f) return Buffer.from([value]);
  const bytes = [0x7f];
  let rest = value - 0x7f;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
