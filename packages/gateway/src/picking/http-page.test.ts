import { expect, test } from "vitest";
import { PageReader } from "./http-page.ts";

/** Pushes a text in pieces of so many bytes, and gives what came of it. */
function read(text: string, pieceBytes = text.length, reader = new PageReader(1_000)) {
  const bytes = Buffer.from(text, "latin1");
  const piece = Buffer.alloc(pieceBytes);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    // The same memory every time, as a connection has it.
    const length = bytes.copy(piece, 0, at, at + pieceBytes);
    const page = reader.push(piece.subarray(0, length));
    if (page !== undefined) return { ...page, body: page.body.toString("latin1"), at: at + length };
  }
  return undefined;
}

const LENGTH = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKS =
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;name=value\r\nlo\r\n00\r\nTrailer: value\r\nOther: value\r\n\r\n";

test.each([
  { name: "a told length", text: LENGTH, want: { status: 200, body: "hello", reusable: true } },
  { name: "no bytes", text: "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", want: { status: 200, body: "", reusable: true } },
  { name: "chunks", text: CHUNKS, want: { status: 200, body: "hello", reusable: true } },
  { name: "an interim answer", text: `HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${LENGTH}`, want: { status: 200, body: "hello" } },
  { name: "an answer that never has a body", text: "HTTP/1.1 204\r\n\r\n", want: { status: 204, body: "", reusable: true } },
  { name: "an error", text: LENGTH.replace("200 OK", "503 no"), want: { status: 503, body: "hello", reusable: true } },
  { name: "a last answer", text: LENGTH.replace("\r\n\r\n", "\r\nConnection: Close\r\n\r\n"), want: { body: "hello", reusable: false } },
  { name: "HTTP/1.0", text: LENGTH.replace("1.1", "1.0"), want: { body: "hello", reusable: false } },
  {
    name: "HTTP/1.0 that goes on",
    text: LENGTH.replace("1.1 200 OK", "1.0 200 OK\r\nconnection: keep-alive"),
    want: { body: "hello", reusable: true },
  },
])("a page: $name, whole and in pieces of every size", ({ text, want }) => {
  for (let size = 1; size <= text.length; size += 1) expect(read(text, size)).toMatchObject({ ...want, at: text.length });
});

test("a page to the end of the connection is whole then, and no other one is", () => {
  const reader = new PageReader(1_000);
  expect(reader.isFresh).toBe(true);
  expect(read("HTTP/1.1 200 OK\r\n\r\nhello", 3, reader)).toBeUndefined();
  expect(reader.isFresh).toBe(false);
  expect(reader.end()).toMatchObject({ status: 200, body: Buffer.from("hello"), reusable: false });
  for (const cut of [1, 20, LENGTH.length - 1]) {
    const other = new PageReader(1_000);
    read(LENGTH.slice(0, cut), cut, other);
    expect([other.isFresh, other.end()]).toEqual([false, undefined]);
  }
});

test("one page follows the other, and what nobody asked for makes an end", () => {
  const reader = new PageReader(1_000);
  for (const text of [LENGTH, CHUNKS, LENGTH]) {
    expect(read(text, 7, reader)).toMatchObject({ body: "hello", reusable: true });
    expect(reader.isFresh).toBe(true);
  }
  for (const text of [LENGTH, CHUNKS]) expect(read(`${text}HTTP`)).toMatchObject({ body: "hello", reusable: false });
});

test.each([
  { name: "other protocols", text: "SSH-2.0-OpenSSH\r\n\r\n", why: "HTTP/1.1" },
  { name: "a status that is none", text: "HTTP/1.1 999\r\n\r\n", why: "HTTP/1.1" },
  { name: "another coding", text: "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", why: "gzip" },
  { name: "a length that is none", text: "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n", why: "content-length" },
  { name: "too long a body", text: "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", why: "1000 bytes" },
  { name: "too many chunks", text: CHUNKS.replace("3\r\nhel\r\n", `1f4\r\n${"x".repeat(500)}\r\n`.repeat(2)), why: "1000 bytes" },
  { name: "too much to the end", text: `HTTP/1.1 200 OK\r\n\r\n${"x".repeat(1_001)}`, why: "1000 bytes" },
  { name: "headers without an end", text: `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(11_000)}`, why: "headers" },
  { name: "a size that is none", text: CHUNKS.replace("3\r\n", "-3\r\n"), why: "chunks" },
  { name: "a size without an end", text: CHUNKS.replace("3\r\n", `3;${"x".repeat(2_000)}`), why: "chunks" },
  { name: "a chunk longer than told", text: CHUNKS.replace("hel", "hell"), why: "chunks" },
])("refused: $name", ({ text, why }) => {
  expect(() => read(text)).toThrow(why);
  expect(() => read(text, 100)).toThrow(why);
});
