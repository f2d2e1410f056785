import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { AdapterError } from "../../errors.ts";
import type { ByteRange, Source } from "../sources/source.ts";
import { remoteFile } from "./remote-file.ts";

const SIGNAL = new AbortController().signal;
const FILE = { name: "w", sizeBytes: 1_000_000, etag: "e" };
const LISTING = { files: [FILE] };

function source(answer: (range: ByteRange | undefined) => Readable): { source: Source; asked: (ByteRange | undefined)[] } {
  const asked: (ByteRange | undefined)[] = [];
  const read: Source["read"] = async (_listing, _file, range) => {
    asked.push(range);
    return answer(range);
  };
  return { source: { list: async () => LISTING, read }, asked };
}
const bytes = (n: number) => Readable.from([Buffer.alloc(n, 1)]);

test("asks for the part that is wanted, and for the whole without a range", async () => {
  const { source: s, asked } = source((range) => bytes(range === undefined ? FILE.sizeBytes : range.end - range.start));
  const file = remoteFile(s, LISTING, FILE);
  expect((await file.read(8, 100, SIGNAL)).length).toBe(92);
  expect((await file.read(0, FILE.sizeBytes, SIGNAL)).length).toBe(FILE.sizeBytes);
  expect((await file.read(5, 5, SIGNAL)).length).toBe(0);
  expect(asked).toEqual([{ start: 8, end: 100 }, undefined]);
});

test("a source that sends more than was asked for is not read to its end", async () => {
  let sent = 0;
  const endless = () =>
    new Readable({
      read() {
        sent += 1_000;
        this.push(Buffer.alloc(1_000));
      },
    });
  const { source: s } = source(endless);
  await expect(remoteFile(s, LISTING, FILE).read(0, 2_000, SIGNAL)).rejects.toMatchObject({ reason: "ArtifactUnavailable" });
  expect(sent).toBeLessThan(1_000_000);
});

test("a part that is too short is asked for again", async () => {
  const lengths = [5, 10];
  const { source: s } = source(() => bytes(lengths.shift() ?? 0));
  expect((await remoteFile(s, LISTING, FILE).read(0, 10, SIGNAL)).length).toBe(10);
});

test("what a source refuses is passed on", async () => {
  const s: Source = { list: async () => LISTING, read: () => Promise.reject(new AdapterError("ArtifactDenied", "no")) };
  await expect(remoteFile(s, LISTING, FILE).read(0, 10, SIGNAL)).rejects.toMatchObject({ reason: "ArtifactDenied" });
});
