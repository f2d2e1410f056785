import { expect, test } from "vitest";
import { HeaderBlocks } from "./header-blocks.ts";

const POST = 0x83;
const HTTP = 0x86;

/** A literal header. */
function literal(first: number, name: string, value: string): number[] {
  return [first, name.length, ...Buffer.from(name), value.length, ...Buffer.from(value)];
}
const indexed = (name: string, value: string): number[] => literal(0x40, name, value);
const plain = (name: string, value: string): number[] => literal(0x00, name, value);
/** The newest header of the table. */
const NEWEST = 0xbe;

test("the same block is decoded once, and another one between does no harm", () => {
  const blocks = new HeaderBlocks();
  const block = (path: string): Buffer => Buffer.from([POST, HTTP, ...plain(":path", path)]);
  const first = blocks.request(block("/a"));
  expect([first.path, first.method, first.malformed]).toEqual(["/a", "POST", undefined]);
  expect(blocks.request(block("/a"))).toBe(first);
  expect(blocks.request(block("/b")).path).toBe("/b");
  expect(blocks.request(block("/a")).path).toBe("/a");
});

test("a block that changes the table does so each time", () => {
  const blocks = new HeaderBlocks();
  const adds = (type: string): Buffer => Buffer.from([POST, HTTP, ...plain(":path", "/"), ...indexed("content-type", type)]);
  for (const type of ["a", "b", "a", "a"]) expect(blocks.request(adds(type)).contentType).toBe(type);
  // The third newest: of four entries the second.
  expect(blocks.request(Buffer.from([POST, HTTP, ...plain(":path", "/"), NEWEST + 2])).contentType).toBe("b");
});

test("the same block means something else once the table has changed, by whatever block", () => {
  const blocks = new HeaderBlocks();
  const names = Buffer.from([POST, HTTP, ...plain(":path", "/"), NEWEST]);
  blocks.request(Buffer.from([POST, HTTP, ...plain(":path", "/"), ...indexed("content-type", "a")]));
  for (let i = 0; i < 2; i += 1) expect(blocks.request(names).contentType).toBe("a");
  blocks.trailers(Buffer.from(indexed("content-type", "b")));
  for (let i = 0; i < 2; i += 1) expect(blocks.request(names).contentType).toBe("b");
  // A table of no bytes, by an update of its size.
  blocks.trailers(Buffer.from([0x20]));
  expect(() => blocks.request(names)).toThrow("62");
});

test("a request's block that comes as trailers is malformed there, and well again as a request's", () => {
  const blocks = new HeaderBlocks();
  const block = Buffer.from([POST, HTTP, ...plain(":path", "/")]);
  blocks.request(block);
  expect(blocks.trailers(block).malformed).toContain("trailers");
  expect(blocks.request(block).malformed).toBeUndefined();
});

test("a block that is malformed is so each time, and a long one is decoded each time", () => {
  const blocks = new HeaderBlocks();
  for (let i = 0; i < 2; i += 1) expect(blocks.request(Buffer.from([POST])).malformed).toContain("missing");
  const long = Buffer.from([
    POST,
    HTTP,
    ...plain(":path", "/"),
    ...Array(6)
      .fill(plain("x", "y".repeat(100)))
      .flat(),
  ]);
  expect(blocks.request(long)).not.toBe(blocks.request(long));
});

test("a block whose memory is used again is not mistaken for the one before", () => {
  const blocks = new HeaderBlocks();
  const memory = Buffer.from([POST, HTTP, ...plain(":path", "/a")]);
  expect(blocks.request(memory).path).toBe("/a");
  memory.write("b", memory.length - 1);
  expect(blocks.request(memory).path).toBe("/b");
});
