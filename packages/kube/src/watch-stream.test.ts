import { expect, test } from "vitest";
import { lines } from "./watch-stream.ts";

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

async function all(stream: AsyncGenerator<Uint8Array>, max?: number): Promise<string[]> {
  const found: string[] = [];
  for await (const line of lines(stream, max)) found.push(line);
  return found;
}

test.each([
  { name: "one line in one piece", given: ["a\n"], want: ["a"] },
  { name: "two lines in one piece", given: ["a\nb\n"], want: ["a", "b"] },
  { name: "a line in many pieces", given: ["a", "b", "c\nd", "\n"], want: ["abc", "d"] },
  { name: "empty lines", given: ["\n\na\n\n"], want: ["a"] },
  { name: "a line that was cut off", given: ["a\nb"], want: ["a"] },
  { name: "nothing", given: [], want: [] },
])("reads $name", async ({ given, want }) => {
  expect(await all(chunks(...given))).toEqual(want);
});

test("a character that two pieces share stays whole", async () => {
  const bytes = Buffer.from("ü\n");
  async function* halves(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 1);
    yield bytes.subarray(1);
  }
  expect(await all(halves())).toEqual(["ü"]);
});

test("a line without end is refused before it fills the memory", async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.alloc(1000, "x");
  }
  await expect(all(endless(), 10_000)).rejects.toMatchObject({ reason: "Garbage", retryable: true });
});
