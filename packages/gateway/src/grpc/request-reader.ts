import { HEADER_ATTEMPTS, HEADER_DESTINATION } from "@aibrix/api";
import { envoy } from "#proto";
import { HEAD_HEADERS, type Header, readRequestHead } from "../http/request-head.ts";
import type { Duplex, Message } from "../phases/types.ts";

/*
 * Reads Envoy's messages without making objects of what is not needed: of some twenty headers a handful decides. Field numbers are those of
 * proto/; a test compares it with the code that is generated from there.
 */

/** `ProcessingRequest`: what is in a field of this number. */
const KINDS = [
  undefined,
  undefined,
  "requestHeaders",
  "responseHeaders",
  "requestBody",
  "responseBody",
  "requestTrailers",
  "responseTrailers",
] as const;

/** Other fields of a `ProcessingRequest`. */
const METADATA_CONTEXT = 8;
const PROTOCOL_CONFIG = 11;

const FULL_DUPLEX_STREAMED = envoy.extensions.filters.http.ext_proc.v3.ProcessingMode.BodySendMode.FULL_DUPLEX_STREAMED;

/** Where the Gateway API Inference Extension's protocol says which endpoints may be picked. */
const SUBSET_NAMESPACE = "envoy.lb.subset_hint";
const SUBSET_KEY = `${HEADER_DESTINATION}-subset`;

/** Wire types of protocol buffers. */
const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;

interface Name {
  readonly name: string;
  readonly bytes: Buffer;
  /** The value that was read last, where most requests have the same one. */
  readonly last: Last | undefined;
}

/** A text and its bytes: to compare a few bytes is cheaper than to make a text of them. */
interface Last {
  bytes: Buffer;
  text: string;
}

/** Names of headers, by their length. */
type Names = readonly (readonly Name[] | undefined)[];

/** Headers whose values are nearly always the same. */
const REPEATED = [":method", ":path", "content-type"];

/** A longer value is not remembered, in bytes. */
const MAX_REMEMBERED_BYTES = 256;

const REQUEST_NAMES = byLength(HEAD_HEADERS);
const RESPONSE_NAMES = byLength([":status", HEADER_ATTEMPTS]);

function byLength(list: readonly string[]): Names {
  const names: Name[][] = [];
  for (const name of list) {
    const last = REPEATED.includes(name) ? { bytes: Buffer.alloc(0), text: "" } : undefined;
    names[name.length] = [...(names[name.length] ?? []), { name, bytes: Buffer.from(name), last }];
  }
  return names;
}

/** A place in a message. Each `read` moves it on. */
class Cursor {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;
  field = 0;
  wire = 0;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Goes to the next field; false at the end. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = this.varint();
    this.field = Math.floor(tag / 8);
    this.wire = tag % 8;
    return true;
  }

  /** Exact up to 53 bits; nothing larger is looked at. */
  varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      if (this.at >= this.end) throw new RangeError("a number is cut short");
      const byte = this.bytes[this.at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new RangeError("a number is too long");
  }

  /** Goes behind a field of bytes and gives their end; {@link Cursor.at} is where they began before {@link Cursor.varint} was read. */
  length(): number {
    const end = this.varint() + this.at;
    if (end > this.end) throw new RangeError("a field is cut short");
    return end;
  }

  skip(): void {
    if (this.wire === VARINT) this.varint();
    else if (this.wire === BYTES) this.at = this.length();
    else if (this.wire === FIXED_64) this.at += 8;
    else if (this.wire === FIXED_32) this.at += 4;
    else throw new RangeError(`wire type ${this.wire}`);
    if (this.at > this.end) throw new RangeError("a field is cut short");
  }
}

/** `HttpHeaders`, as far as they are read. */
interface ReadHeaders {
  readonly headers: Header[];
  endOfStream: boolean;
}

/**
 * Reads a `ProcessingRequest`. A body stays where it is. Fields may come in any order, and a field that comes again is merged with what was
 * there, as protocol buffers have it.
 *
 * @throws RangeError for bytes that are no such message
 */
export function readRequest(bytes: Buffer): Message {
  const cursor = new Cursor(bytes, 0, bytes.length);
  let kind: (typeof KINDS)[number];
  let headers: ReadHeaders | undefined;
  let body: ReadBody | undefined;
  let duplex: Duplex | undefined;
  let subset: readonly string[] | undefined;
  while (cursor.next()) {
    const next = KINDS[cursor.field];
    if (next === undefined || cursor.wire !== BYTES) {
      const { field, wire } = cursor;
      const end = wire === BYTES ? cursor.length() : undefined;
      if (end === undefined) cursor.skip();
      else if (field === PROTOCOL_CONFIG) duplex = readProtocol(new Cursor(bytes, cursor.at, end), duplex);
      else if (field === METADATA_CONTEXT && end > cursor.at) subset = readSubset(bytes.subarray(cursor.at, end)) ?? subset;
      cursor.at = end ?? cursor.at;
      continue;
    }
    if (next !== kind) headers = body = undefined; // One of them alone is set: the last.
    kind = next;
    const end = cursor.length();
    if (kind === "requestHeaders" || kind === "responseHeaders") {
      headers ??= { headers: [], endOfStream: false };
      readHeaders(new Cursor(bytes, cursor.at, end), headers, kind === "requestHeaders" ? REQUEST_NAMES : RESPONSE_NAMES);
    } else if (kind === "requestBody" || kind === "responseBody") {
      body ??= { body: bytes.subarray(0, 0), endOfStream: false };
      readBody(new Cursor(bytes, cursor.at, end), body);
    }
    cursor.at = end;
  }
  if (kind === "requestHeaders") {
    const { headers: list = [], endOfStream = false } = headers ?? {};
    return {
      kind,
      head: readRequestHead(list),
      endOfStream,
      ...(duplex === undefined ? {} : { duplex }),
      ...(subset === undefined ? {} : { subset }),
    };
  }
  if (kind === "responseHeaders") {
    const value = (name: string): string => headers?.headers.findLast(({ key }) => key === name)?.value ?? "";
    return { kind, status: statusOf(value(":status")), attempts: attemptsOf(value(HEADER_ATTEMPTS)) };
  }
  if (kind === "requestBody" || kind === "responseBody") return { kind, ...(body ?? { body: bytes.subarray(0, 0), endOfStream: false }) };
  return { kind: kind ?? "unknown" };
}

/** `undefined` for what is no status of HTTP. */
function statusOf(text: string): number | undefined {
  return /^[1-5]\d\d$/.test(text) ? Number(text) : undefined;
}

function attemptsOf(text: string): number | undefined {
  return /^[1-9]\d{0,3}$/.test(text) ? Number(text) : undefined;
}

/** `HttpBody`, as far as it is read. */
interface ReadBody {
  body: Buffer;
  endOfStream: boolean;
}

/** `HttpBody`. */
function readBody(cursor: Cursor, into: ReadBody): void {
  while (cursor.next()) {
    if (cursor.field === 1 && cursor.wire === BYTES) {
      const end = cursor.length();
      into.body = cursor.bytes.subarray(cursor.at, end);
      cursor.at = end;
    } else if (cursor.field === 2 && cursor.wire === VARINT) {
      into.endOfStream = cursor.varint() !== 0;
    } else {
      cursor.skip();
    }
  }
}

/** `ProtocolConfiguration`; `before` is what an earlier part of it had. */
function readProtocol(cursor: Cursor, before: Duplex | undefined): Duplex | undefined {
  let { request, response } = before ?? { request: false, response: false };
  while (cursor.next()) {
    if (cursor.field === 1 && cursor.wire === VARINT) request = cursor.varint() === FULL_DUPLEX_STREAMED;
    else if (cursor.field === 2 && cursor.wire === VARINT) response = cursor.varint() === FULL_DUPLEX_STREAMED;
    else cursor.skip();
  }
  return request || response ? { request, response } : undefined;
}

/** The endpoints in a `Metadata`; Envoy sends one only where it is configured to. */
function readSubset(bytes: Buffer): readonly string[] | undefined {
  let metadata: envoy.config.core.v3.Metadata;
  try {
    metadata = envoy.config.core.v3.Metadata.decode(bytes);
  } catch (error) {
    throw new RangeError("the metadata cannot be read", { cause: error });
  }
  const value = metadata.filterMetadata?.[SUBSET_NAMESPACE]?.fields?.[SUBSET_KEY];
  if (value === undefined) return undefined;
  const texts = value.listValue?.values?.map((one) => one.stringValue ?? "") ?? (value.stringValue ?? "").split(",");
  return texts.map((text) => text.trim()).filter((text) => text !== "");
}

/** `HttpHeaders`. */
function readHeaders(cursor: Cursor, into: ReadHeaders, names: Names): void {
  while (cursor.next()) {
    if (cursor.field === 1 && cursor.wire === BYTES) {
      const end = cursor.length();
      readHeaderMap(new Cursor(cursor.bytes, cursor.at, end), into.headers, names);
      cursor.at = end;
    } else if (cursor.field === 3 && cursor.wire === VARINT) {
      into.endOfStream = cursor.varint() !== 0;
    } else {
      cursor.skip();
    }
  }
}

/** `HeaderMap`: those of its headers that are looked at. */
function readHeaderMap(cursor: Cursor, headers: Header[], names: Names): void {
  const { bytes } = cursor;
  while (cursor.next()) {
    if (cursor.field !== 1 || cursor.wire !== BYTES) {
      cursor.skip();
      continue;
    }
    const end = cursor.length();
    const header = readHeader(new Cursor(bytes, cursor.at, end), names);
    if (header !== undefined) headers.push(header);
    cursor.at = end;
  }
}

/** `HeaderValue`, where its key is one that is looked at. Nothing is copied before that is known. */
function readHeader(cursor: Cursor, names: Names): Header | undefined {
  const { bytes } = cursor;
  let name: Name | undefined;
  let textAt = 0;
  let textEnd = 0;
  let rawAt = 0;
  let rawEnd = 0;
  while (cursor.next()) {
    if (cursor.wire !== BYTES || cursor.field > 3) {
      cursor.skip();
      continue;
    }
    const end = cursor.length();
    if (cursor.field === 1) {
      name = nameAt(names, bytes, cursor.at, end);
    } else if (cursor.field === 2) {
      textAt = cursor.at;
      textEnd = end;
    } else if (cursor.field === 3) {
      rawAt = cursor.at;
      rawEnd = end;
    }
    cursor.at = end;
  }
  if (name === undefined) return undefined;
  return { key: name.name, value: rawEnd > rawAt ? rawText(bytes, rawAt, rawEnd, name.last) : bytes.toString("utf8", textAt, textEnd) };
}

function rawText(bytes: Buffer, start: number, end: number, last: Last | undefined): string {
  if (last !== undefined && last.bytes.length === end - start && isAt(last.bytes, bytes, start)) return last.text;
  const text = bytes.toString("latin1", start, end);
  if (last !== undefined && end - start <= MAX_REMEMBERED_BYTES) {
    last.bytes = Buffer.from(bytes.subarray(start, end));
    last.text = text;
  }
  return text;
}

function nameAt(names: Names, bytes: Buffer, start: number, end: number): Name | undefined {
  const alike = names[end - start];
  if (alike === undefined) return undefined;
  for (const name of alike) if (isAt(name.bytes, bytes, start)) return name;
  return undefined;
}

function isAt(want: Buffer, bytes: Buffer, start: number): boolean {
  let i = want.length - 1;
  while (i >= 0 && want[i] === bytes[start + i]) i -= 1;
  return i < 0;
}
