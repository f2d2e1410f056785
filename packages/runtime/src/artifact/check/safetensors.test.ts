import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { localFile } from "./files.ts";
import { MAX_HEADER_BYTES, readTensors } from "./safetensors.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "safetensors-"));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

function file(header: unknown, dataBytes: number, announced?: bigint): Buffer {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(announced ?? BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}
const tensor = (from: number, to: number, shape = [(to - from) / 4], dtype = "F32") => ({ dtype, shape, data_offsets: [from, to] });

async function check(bytes: Buffer): Promise<string> {
  const path = join(dir, "w.safetensors");
  await writeFile(path, bytes);
  return await readTensors(await localFile(dir, "w.safetensors"), new AbortController().signal).then(
    () => "good",
    (error: Error & { reason?: string }) => `${error.reason}: ${error.message}`,
  );
}

test.each([
  { name: "no tensors", bytes: file({ __metadata__: { format: "pt" } }, 0) },
  { name: "two tensors in any order", bytes: file({ b: tensor(8, 16), a: tensor(0, 8), __metadata__: {} }, 16) },
  { name: "an empty tensor", bytes: file({ a: tensor(0, 0, [0, 4]), b: tensor(0, 4) }, 4) },
  { name: "a dtype of the future", bytes: file({ a: tensor(0, 3, [6], "F4") }, 3) },
  { name: "metadata that is null", bytes: file({ __metadata__: null, a: tensor(0, 4) }, 4) },
  { name: "a tensor called as what every object has", bytes: file('{"toString":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4) },
  { name: "a type called as what every object has", bytes: file({ a: tensor(0, 4, [1], "constructor") }, 4) },
  { name: "a header longer than what is read at first", bytes: file(`${JSON.stringify({ a: tensor(0, 4) })}${" ".repeat(200_000)}`, 4) },
  { name: "a scalar", bytes: file({ a: tensor(0, 4, []) }, 4) },
])("takes $name", async ({ bytes }) => {
  expect(await check(bytes)).toBe("good");
});

test.each([
  { name: "an empty file", bytes: Buffer.alloc(0), want: "it has 0 bytes" },
  {
    name: "a file that ends in its data",
    bytes: file({ a: tensor(0, 16) }, 15),
    want: "w.safetensors is truncated: it has 78 bytes, its header asks for 79",
  },
  {
    name: "a file that ends in its header",
    bytes: file({ a: tensor(0, 16) }, 16).subarray(0, 20),
    want: "w.safetensors is truncated: it has 20 bytes, its header asks for 63",
  },
  { name: "something else", bytes: Buffer.from("<!DOCTYPE html><html></html>"), want: "it is no safetensors file" },
  { name: "a huge header", bytes: file("{}", 0, 2n ** 63n), want: "it is no safetensors file" },
  { name: "a header that is not JSON", bytes: file("{{", 0), want: "its header is not JSON" },
  { name: "a header that is a list", bytes: file("[]", 0), want: "its header is not an object" },
  { name: "a tensor without a place", bytes: file({ a: { dtype: "F32", shape: [1] } }, 4), want: 'does not describe tensor "a"' },
  { name: "a tensor that ends before it begins", bytes: file({ a: tensor(4, 0, [1]) }, 4), want: 'does not describe tensor "a"' },
  { name: "a negative shape", bytes: file({ a: tensor(0, 4, [-1]) }, 4), want: 'does not describe tensor "a"' },
  { name: "three places", bytes: file({ a: { ...tensor(0, 4), data_offsets: [0, 4, 8] } }, 4), want: 'does not describe tensor "a"' },
  { name: "metadata that is a list", bytes: file({ __metadata__: [] }, 0), want: "__metadata__ is not an object of strings" },
  { name: "metadata with numbers", bytes: file({ __metadata__: { n: 1 } }, 0), want: "__metadata__ is not an object of strings" },
  { name: "tensors that overlap", bytes: file({ a: tensor(0, 8), b: tensor(4, 12) }, 12), want: "gap or overlap" },
  { name: "a gap", bytes: file({ a: tensor(0, 8), b: tensor(12, 16) }, 16), want: "gap or overlap" },
  {
    name: "a shape that its place contradicts",
    bytes: file({ a: tensor(0, 8, [3]) }, 8),
    want: 'tensor "a" takes 12 bytes by its shape and 8 by its place',
  },
  { name: "bytes after the last tensor", bytes: file({ a: tensor(0, 8) }, 9), want: "1 bytes follow its last tensor" },
])("refuses $name", async ({ bytes, want }) => {
  const answer = await check(bytes);
  expect(answer).toMatch(/^ArtifactInvalid: /);
  expect(answer).toContain(want);
});

test("refuses a header that is larger than what is read, and does not read it", async () => {
  const announced = Buffer.alloc(8);
  announced.writeBigUInt64LE(BigInt(MAX_HEADER_BYTES + 1));
  const reads: number[] = [];
  const file = {
    name: "w.safetensors",
    sizeBytes: 2 ** 40,
    read: async (start: number, end: number) => {
      reads.push(end - start);
      return Buffer.concat([announced, Buffer.alloc(end - start - 8)]);
    },
  };
  await expect(readTensors(file, new AbortController().signal)).rejects.toMatchObject({
    reason: "ArtifactInvalid",
    message: expect.stringContaining(`of which the runtime reads ${MAX_HEADER_BYTES} at most`),
  });
  expect(Math.max(...reads)).toBeLessThanOrEqual(64 * 1024);
});
