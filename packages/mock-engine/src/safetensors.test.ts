import { describe, expect, test } from "vitest";
import { headerBytes, parseHeader } from "./safetensors.ts";

const LENGTH = 8;

function encode(header: unknown): Uint8Array {
  return new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
}

/** Parses a header in front of so many bytes of data. */
function parse(header: unknown, dataBytes: number): ReadonlyMap<string, unknown> {
  const bytes = encode(header);
  return parseHeader(bytes, LENGTH + bytes.byteLength + dataBytes);
}

function tensor(begin: number, end: number, shape: readonly number[] = [(end - begin) / 4], dtype = "F32"): object {
  return { dtype, shape, data_offsets: [begin, end] };
}

describe("headerBytes", () => {
  function start(length: bigint): Uint8Array {
    const bytes = new Uint8Array(LENGTH);
    new DataView(bytes.buffer).setBigUint64(0, length, true);
    return bytes;
  }

  test("reads the length", () => {
    expect(headerBytes(start(40n), 100)).toBe(40);
  });

  test.each([
    { name: "a file that is too short", bytes: new Uint8Array(3), fileBytes: 3, why: "header too small" },
    { name: "a length beyond any header", bytes: start(1n << 60n), fileBytes: 100, why: "header too large" },
    { name: "a length beyond the file", bytes: start(93n), fileBytes: 100, why: "invalid header length" },
  ])("refuses $name", ({ bytes, fileBytes, why }) => {
    expect(() => headerBytes(bytes, fileBytes)).toThrow(`Error while deserializing header: ${why}`);
  });
});

describe("parseHeader", () => {
  test("finds the tensors and leaves metadata out, in any order", () => {
    const tensors = parse({ __metadata__: { format: "pt" }, b: tensor(8, 16), a: tensor(0, 8) }, 16);
    expect([...tensors.keys()].sort()).toEqual(["a", "b"]);
  });

  test.each([
    { name: "data that ends early", header: { a: tensor(0, 8) }, dataBytes: 7, why: "incomplete metadata, file not fully covered" },
    { name: "data behind the last tensor", header: { a: tensor(0, 8) }, dataBytes: 9, why: "incomplete metadata, file not fully covered" },
    { name: "a gap", header: { a: tensor(0, 8), b: tensor(12, 20) }, dataBytes: 20, why: "invalid offset for tensor `b`" },
    { name: "an overlap", header: { a: tensor(0, 8), b: tensor(4, 12) }, dataBytes: 12, why: "invalid offset for tensor `b`" },
    {
      name: "a shape of another size",
      header: { a: tensor(0, 8, [3]) },
      dataBytes: 8,
      why: "invalid shape, data type, or offset for tensor",
    },
    { name: "an unknown type", header: { a: tensor(0, 8, [2], "X1") }, dataBytes: 8, why: "invalid JSON in header: unknown dtype X1" },
    { name: "no JSON", header: "{", dataBytes: 0, why: "invalid JSON in header" },
    { name: "a list", header: [], dataBytes: 0, why: "invalid JSON in header: expected a map" },
    {
      name: "a tensor without offsets",
      header: { a: { dtype: "F32", shape: [2] } },
      dataBytes: 8,
      why: "invalid JSON in header: tensor a",
    },
  ])("refuses $name", ({ header, dataBytes, why }) => {
    expect(() => parse(header, dataBytes)).toThrow(`Error while deserializing header: ${why}`);
  });

  test("refuses bytes that are no text", () => {
    expect(() => parseHeader(new Uint8Array([0xff, 0xfe]), LENGTH + 2)).toThrow("invalid UTF-8 in header");
  });
});
