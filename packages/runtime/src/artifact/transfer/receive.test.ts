import { once } from "node:events";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import type { RemoteFile } from "../sources/source.ts";
import { RateLimit } from "./rate-limit.ts";
import { receive } from "./receive.ts";

const FILE: RemoteFile = { name: "f", sizeBytes: 6, etag: "" };

function request(body: Readable) {
  const source = { list: async () => ({ files: [] }), read: async () => body };
  return { source, listing: { files: [FILE] }, file: FILE, span: { start: 0, end: FILE.sizeBytes }, asRange: false };
}

test("an answer that closes while its last chunk is still being written is whole", async () => {
  const body = Readable.from([Buffer.from("abc"), Buffer.from("def")]);
  const closed = once(body, "close");
  const landed: string[] = [];
  const sink = async (chunk: Buffer) => {
    if (chunk.toString() === "def") await closed;
    landed.push(chunk.toString());
  };
  await receive(request(body), sink, new RateLimit(Number.POSITIVE_INFINITY), NEVER);
  expect(landed).toEqual(["abc", "def"]);
});

test("what the writing of the last chunk says is not lost behind the answer's end", async () => {
  const body = Readable.from([Buffer.from("abcdef")]);
  const closed = once(body, "close");
  const sink = async () => {
    await closed;
    throw Object.assign(new Error("no room"), { code: "ENOSPC" });
  };
  const received = receive(request(body), sink, new RateLimit(Number.POSITIVE_INFINITY), NEVER);
  await expect(received).rejects.toMatchObject({ reason: "StorageFull" });
});

test("an answer that ends early is no whole one", async () => {
  const body = new Readable({ read: () => undefined });
  body.push("abc");
  const received = receive(request(body), () => void body.destroy(), new RateLimit(Number.POSITIVE_INFINITY), NEVER);
  await expect(received).rejects.toMatchObject({ reason: "ArtifactUnavailable", retryable: true });
});
