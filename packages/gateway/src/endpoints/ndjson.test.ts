import { expect, test } from "vitest";
import { readNdjson } from "./ndjson.ts";

async function read(...chunks: (string | Buffer)[]): Promise<unknown[]> {
  async function* source(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) yield Buffer.from(chunk);
  }
  const values: unknown[] = [];
  for await (const value of readNdjson(source())) values.push(value);
  return values;
}

test.each([
  { name: "one line a chunk", chunks: ['{"a":1}\n', '{"a":2}\n'], want: [{ a: 1 }, { a: 2 }] },
  { name: "a line in pieces", chunks: ['{"a', '":', "1}", "\n"], want: [{ a: 1 }] },
  { name: "lines in one chunk", chunks: ['{"a":1}\n\n{"a":2}\r\n{"a":'], want: [{ a: 1 }, { a: 2 }] },
  { name: "a character in two pieces", chunks: [Buffer.from('"ü"\n').subarray(0, 2), Buffer.from('"ü"\n').subarray(2)], want: ["ü"] },
  { name: "nothing", chunks: [], want: [] },
])("reads $name", async ({ chunks, want }) => {
  expect(await read(...chunks)).toEqual(want);
});

test("a line that is not JSON is an error", async () => {
  await expect(read("nonsense\n")).rejects.toThrow(SyntaxError);
});
