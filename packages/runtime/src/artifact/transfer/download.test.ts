import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { AdapterError } from "../../errors.ts";
import type { Source } from "../sources/source.ts";
import { downloadFile, IDLE_TIMEOUT_MS, storageError } from "./download.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "download-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const TEXT = "hello world";
const SHA256 = createHash("sha256").update(TEXT).digest("hex");

/** A source that gives each answer once, the last one for ever. */
function source(...answers: (() => Readable)[]): Source & { reads: number } {
  const self = {
    reads: 0,
    list: async () => ({ files: [] }),
    read: async () => {
      const answer = answers[Math.min(self.reads, answers.length - 1)];
      self.reads += 1;
      if (answer === undefined) throw new Error("no answer");
      return answer();
    },
  };
  return self;
}
const whole = () => Readable.from([Buffer.from("hello "), Buffer.from("world")]);
const cut = () =>
  Readable.from(
    (async function* () {
      yield Buffer.from("hello ");
      throw Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" });
    })(),
  );

async function download(from: Source, file: { sizeBytes?: number; sha256?: string } = {}, retries?: number) {
  let progress = 0;
  const target = join(dir, "f");
  const expected = {
    name: "f",
    sizeBytes: file.sizeBytes ?? TEXT.length,
    etag: "",
    ...(file.sha256 === undefined ? {} : { sha256: file.sha256 }),
  };
  const onBytes = (n: number) => {
    progress += n;
  };
  const options = { target, onBytes, ...(retries === undefined ? {} : { retries }) };
  const result = await downloadFile(from, { files: [] }, expected, options, NEVER);
  return { result, progress, text: await readFile(target, "utf8") };
}

test("brings a file and its hash", async () => {
  const { result, progress, text } = await download(source(whole), { sha256: SHA256 });
  expect({ result, progress, text }).toEqual({ result: { name: "f", sizeBytes: 11, sha256: SHA256 }, progress: 11, text: TEXT });
});

test("a broken connection is tried again, and progress starts anew", async () => {
  const from = source(cut, whole);
  const { progress, text } = await download(from);
  expect({ progress, text, reads: from.reads }).toEqual({ progress: 11, text: TEXT, reads: 2 });
});

test("a file that arrives damaged once is read again", async () => {
  const { text } = await download(
    source(() => Readable.from([Buffer.from("hello w0rld")]), whole),
    { sha256: SHA256 },
  );
  expect(text).toBe(TEXT);
});

test.each([
  { name: "is longer than announced", file: { sizeBytes: 5 }, says: "longer than the 5 bytes" },
  { name: "is shorter than announced", file: { sizeBytes: 50 }, says: "11 bytes came, 50 were announced" },
  { name: "has another hash than announced", file: { sha256: "0".repeat(64) }, says: `its sha256 is ${SHA256}` },
])("a file that $name, time and again, is final", async ({ file, says }) => {
  const from = source(whole);
  const error = await download(from, file, 1).catch((e: unknown) => e);
  expect(error).toMatchObject({ reason: "ArtifactInvalid", retryable: false });
  expect((error as Error).message).toContain(says);
  expect(from.reads).toBe(2);
});

test("a refusal is not tried again", async () => {
  const from = source(() => {
    throw new AdapterError("ArtifactDenied", "no");
  });
  await expect(download(from)).rejects.toMatchObject({ reason: "ArtifactDenied" });
  expect(from.reads).toBe(1);
});

test("a source that is silent gives its place up after half a minute", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const silent: Source & { reads: number } = {
      reads: 0,
      list: async () => ({ files: [] }),
      read: (_listing, _file, _range, signal) => {
        silent.reads += 1;
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }));
      },
    };
    const result = download(silent).catch((e: unknown) => e);
    await vi.advanceTimersByTimeAsync(IDLE_TIMEOUT_MS);
    expect(await result).toMatchObject({
      reason: "ArtifactUnavailable",
      retryable: true,
      message: "f: the source sent nothing for 30 s; it is tried again",
    });
    expect(silent.reads).toBe(1);
  } finally {
    vi.useRealTimers();
  }
});

test("ends at once when it is aborted", async () => {
  const abort = new AbortController();
  const endless = () =>
    Readable.from(
      (async function* () {
        yield Buffer.from("x");
        abort.abort(new Error("enough"));
        await new Promise(() => undefined);
      })(),
    );
  const file = { name: "f", sizeBytes: 99, etag: "" };
  await expect(
    downloadFile(source(endless), { files: [] }, file, { target: join(dir, "f"), onBytes: () => undefined }, abort.signal),
  ).rejects.toThrow();
});

test.each([
  ["ENOSPC", "StorageFull", true],
  ["EDQUOT", "StorageFull", true],
  ["EACCES", "ArtifactUnavailable", true],
])("an error of the volume, %s, is told as %s", (code, reason, retryable) => {
  expect(storageError(Object.assign(new Error("x"), { code, path: "/p" }))).toMatchObject({ reason, retryable });
});
