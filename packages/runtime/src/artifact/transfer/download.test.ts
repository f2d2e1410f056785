import { createHash } from "node:crypto";
import { type FileHandle, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import pLimit from "p-limit";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { AdapterError } from "../../errors.ts";
import { type ByteRange, NoRanges, type RemoteFile, type Source, SourceChanged } from "../sources/source.ts";
import { type Download, downloadFile } from "./download.ts";
import { Hasher } from "./hasher.ts";
import { Journal } from "./journal.ts";
import { Meter } from "./meter.ts";
import { RateLimit } from "./rate-limit.ts";
import { IDLE_TIMEOUT_MS } from "./receive.ts";
import { storageError } from "./storage-error.ts";

let dir: string;
let hasher: Hasher;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "download-"));
  hasher = new Hasher();
});
afterEach(async () => {
  await hasher.close();
  await rm(dir, { recursive: true });
});

const TEXT = "hello world, this is what the file says";
const SHA256 = createHash("sha256").update(TEXT).digest("hex");

type Answer = (bytes: Buffer, range: ByteRange | undefined) => Readable;

/** A source of `text` that answers as each `answer` says, the last one for ever. */
function source(text: string, ...answers: Answer[]): Source & { asked: (string | undefined)[] } {
  const self = {
    asked: [] as (string | undefined)[],
    list: async () => ({ files: [] }),
    read: async (_listing: unknown, _file: unknown, range: ByteRange | undefined) => {
      const answer = answers[Math.min(self.asked.length, answers.length - 1)] ?? whole;
      self.asked.push(range === undefined ? undefined : `${range.start}-${range.end}`);
      return answer(Buffer.from(text).subarray(range?.start, range?.end), range);
    },
  };
  return self;
}
const whole: Answer = (bytes) => Readable.from([bytes]);
const cut: Answer = (bytes) =>
  Readable.from(
    (async function* () {
      yield bytes.subarray(0, 6);
      throw Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" });
    })(),
  );
const noRanges: Answer = (bytes, range) => {
  if (range !== undefined) throw new NoRanges("no parts here");
  return whole(bytes, range);
};

interface Options {
  readonly file?: Partial<RemoteFile>;
  readonly partBytes?: number;
  readonly connections?: number;
  readonly bootId?: string;
  readonly flush?: Download["flush"];
  readonly signal?: AbortSignal;
}

/** Downloads a file into the test's folder, as another process would that finds what is there. */
async function download(from: Source, options: Options = {}) {
  const { file = {}, partBytes = 1_000, connections = 4, bootId = "boot", flush = pLimit(1), signal = NEVER } = options;
  const expected: RemoteFile = { name: "f", sizeBytes: TEXT.length, etag: "", ...file };
  const meter = new Meter(expected.sizeBytes);
  let received = 0;
  const of: Download = {
    source: from,
    listing: { files: [expected] },
    dir,
    journal: await Journal.open(dir, { fingerprint: "x", bootId }),
    meter,
    recycle: () => undefined,
    flush,
    flushBytes: 20,
    onReceived: (bytes) => {
      received += bytes;
    },
    connections: pLimit(connections),
    rate: new RateLimit(Number.POSITIVE_INFINITY),
    hasher,
    partBytes,
  };
  const result = await downloadFile(of, expected, signal);
  return { result, received, progress: meter.progress.bytes, text: await readFile(join(dir, "f"), "utf8") };
}

test("brings a small file in one answer, and its hash", async () => {
  const from = source(TEXT);
  const { result, received, progress, text } = await download(from, { file: { sha256: SHA256 } });
  expect({ result, received, progress, text, asked: from.asked }).toEqual({
    result: { name: "f", sizeBytes: TEXT.length, sha256: SHA256 },
    received: TEXT.length,
    progress: TEXT.length,
    text: TEXT,
    asked: [undefined],
  });
});

test("brings a big file in parts, each at its place", async () => {
  const from = source(TEXT);
  const { result, progress, text } = await download(from, { partBytes: 10 });
  expect({ sha256: result.sha256, progress, text }).toEqual({ sha256: SHA256, progress: TEXT.length, text: TEXT });
  expect(from.asked).toEqual(["0-10", "10-20", "20-30", "30-39"]);
});

test("a big file goes to the disk while it comes, and an error of the disk is not lost", async () => {
  const flush = vi.fn<Download["flush"]>(pLimit(1));
  const { text } = await download(source(TEXT), { partBytes: 10, flush });
  expect({ text, times: flush.mock.calls.length }).toEqual({ text: TEXT, times: 1 });
  const broken = async () => Promise.reject(Object.assign(new Error("i/o error"), { code: "EIO" }));
  await rm(join(dir, "journal"));
  await expect(download(source(TEXT), { partBytes: 10, flush: broken })).rejects.toMatchObject({ code: "EIO" });
});

test("an empty file", async () => {
  const { text } = await download(source(""), { file: { sizeBytes: 0 } });
  expect(text).toBe("");
});

test("a connection that breaks is gone on with where it broke", async () => {
  const from = source(TEXT, cut, cut, whole);
  const { received, progress, text } = await download(from);
  expect({ received, progress, text, asked: from.asked }).toEqual({
    received: TEXT.length,
    progress: TEXT.length,
    text: TEXT,
    asked: [undefined, "6-39", "12-39"],
  });
});

test("connections that break again and again get there, as long as each brings something", async () => {
  const from = source(TEXT, cut);
  expect((await download(from)).text).toBe(TEXT);
  expect(from.asked).toHaveLength(7);
});

test("a source without parts is read in one stream; after a break, from the start", async () => {
  const from = source(TEXT, noRanges, cut, noRanges);
  const { text, progress } = await download(from, { partBytes: 10 });
  expect({ text, progress }).toEqual({ text: TEXT, progress: TEXT.length });
  expect(from.asked.filter((range) => range === undefined).length).toBeGreaterThan(0);
});

test("where nothing ties two parts to one content, all comes in one answer; after a break, from the start", async () => {
  const other = TEXT.toUpperCase();
  const from = source(TEXT, cut, () => Readable.from([Buffer.from(other)]));
  const { text, progress } = await download(from, { partBytes: 10, file: { asWhole: true } });
  expect({ text, progress, asked: from.asked }).toEqual({ text: other, progress: TEXT.length, asked: [undefined, undefined] });
  // Nor does a later try go on with what an earlier one brought.
  await rm(join(dir, "journal"));
  const broken = source(TEXT, cut, () => {
    throw new AdapterError("ArtifactDenied", "no more");
  });
  await expect(download(broken, { partBytes: 10, file: { asWhole: true } })).rejects.toThrow("no more");
  const again = source(other);
  expect((await download(again, { partBytes: 10, file: { asWhole: true } })).text).toBe(other);
  expect(again.asked).toEqual([undefined]);
});

test("what an earlier try brought is not asked for again", async () => {
  const stop = new AdapterError("ArtifactDenied", "the token has run out");
  const refused = source(TEXT, whole, whole, () => {
    throw stop;
  });
  await expect(download(refused, { partBytes: 10, connections: 1 })).rejects.toBe(stop);
  const from = source(TEXT);
  const { received, progress, result } = await download(from, { partBytes: 10 });
  expect({ received, progress, sha256: result.sha256, asked: from.asked }).toEqual({
    received: 19,
    progress: 39,
    sha256: SHA256,
    asked: ["20-30", "30-39"],
  });
});

test.each([
  { name: "without a stated hash, it counts for nothing after a start of the machine", file: {}, received: 39 },
  { name: "with one, it counts", file: { sha256: SHA256 }, received: 9 },
])("what the journal says was written: $name", async ({ file, received }) => {
  const journal = await Journal.open(dir, { fingerprint: "x", bootId: "before" });
  await writeFile(join(dir, "f"), TEXT.slice(0, 30).padEnd(39));
  await journal.add("f", { start: 0, end: 30 });
  const { received: came, text } = await download(source(TEXT), { file, partBytes: 10, bootId: "after" });
  expect({ came, text }).toEqual({ came: received, text: TEXT });
});

test("what the journal says was written but the file does not hold: the hash finds out, and all is read anew", async () => {
  const journal = await Journal.open(dir, { fingerprint: "x", bootId: "boot" });
  await writeFile(join(dir, "f"), "?".repeat(39));
  await journal.add("f", { start: 0, end: 30 });
  const { text, progress, received } = await download(source(TEXT), { file: { sha256: SHA256 }, partBytes: 10 });
  expect({ text, progress, received }).toEqual({ text: TEXT, progress: 39, received: 9 + 39 });
});

test("a file that arrives damaged once is read again", async () => {
  const { text } = await download(
    source(TEXT, () => Readable.from([Buffer.from("j".repeat(39))]), whole),
    { file: { sha256: SHA256 } },
  );
  expect(text).toBe(TEXT);
});

test.each([
  { name: "is longer than announced", file: { sizeBytes: 5 }, says: "longer than the 5 bytes" },
  { name: "is shorter than announced", file: { sizeBytes: 50 }, says: "39 bytes came, 50 were announced" },
  { name: "has another hash than announced", file: { sha256: "0".repeat(64) }, says: `its sha256 is ${SHA256}` },
  { name: "is another blob than git says", file: { digests: [{ algorithm: "git-sha1" as const, hex: "0" }] }, says: "its git-sha1 is" },
])("a file that $name, time and again, is final", async ({ file, says }) => {
  const from = source(TEXT, (_, range) => Readable.from([Buffer.from(TEXT).subarray(range?.start)]));
  const error = await download(from, { file }).catch((e: unknown) => e);
  expect(error).toMatchObject({ reason: "ArtifactInvalid", retryable: false });
  expect((error as Error).message).toContain(says);
});

test("hashes that the source states when it is asked are checked too", async () => {
  const from: Source = { ...source(TEXT), digests: async () => [{ algorithm: "crc32", hex: "00000000" }] };
  await expect(download(from)).rejects.toThrow(/its crc32 is [0-9a-f]{8}, the source says 00000000/);
});

test.each([new AdapterError("ArtifactDenied", "no"), new SourceChanged("it changed")])("%s is not tried again", async (error) => {
  const from = source(TEXT, () => {
    throw error;
  });
  await expect(download(from)).rejects.toBe(error);
  expect(from.asked).toHaveLength(1);
});

test("a source that is silent gives its place up after half a minute", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const asked = Promise.withResolvers<void>();
    let reads = 0;
    const silent: Source = {
      list: async () => ({ files: [] }),
      read: (_listing, _file, _range, signal) => {
        reads += 1;
        asked.resolve();
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }));
      },
    };
    const result = download(silent).catch((e: unknown) => e);
    await asked.promise;
    await vi.advanceTimersByTimeAsync(IDLE_TIMEOUT_MS);
    expect(await result).toMatchObject({
      reason: "ArtifactUnavailable",
      retryable: true,
      message: "f: the source sent nothing for 30 s; it is tried again",
    });
    expect(reads).toBe(1);
  } finally {
    vi.useRealTimers();
  }
});

test("ends at once when it is aborted, with the file closed", async () => {
  const abort = new AbortController();
  const enough = new Error("enough");
  const endless = source(TEXT, () =>
    Readable.from(
      (async function* () {
        yield Buffer.from("x");
        abort.abort(enough);
        await new Promise(() => undefined);
      })(),
    ),
  );
  await expect(download(endless, { signal: abort.signal })).rejects.toBe(enough);
});

test.each([
  ["ENOSPC", "StorageFull", true],
  ["EDQUOT", "StorageFull", true],
  ["EACCES", "ArtifactUnavailable", true],
])("an error of the volume, %s, is told as %s", (code, reason, retryable) => {
  expect(storageError(Object.assign(new Error("x"), { code, path: "/p" }))).toMatchObject({ reason, retryable });
});

test("a volume that takes nothing any more ends the download, and a later one goes on", async () => {
  const probe = await open(join(dir, "probe"), "w");
  await probe.close();
  const denied = Object.assign(new Error("EROFS: read-only file system, write"), { code: "EROFS" });
  const writev = vi.spyOn(Object.getPrototypeOf(probe) as FileHandle, "writev").mockRejectedValueOnce(denied);
  try {
    const ended = download(source(TEXT), { partBytes: 10, signal: AbortSignal.timeout(10_000) });
    await expect(ended).rejects.toMatchObject({
      reason: "ArtifactUnavailable",
      retryable: true,
      message: expect.stringContaining("(EROFS)"),
    });
  } finally {
    writev.mockRestore();
  }
  expect((await download(source(TEXT), { partBytes: 10 })).text).toBe(TEXT);
});

test("what a source states is asked for again where that may pass, and never goes unchecked", async () => {
  const passing = new AdapterError("ArtifactUnavailable", "answered HTTP 503");
  const digests = vi.fn<NonNullable<Source["digests"]>>(async () => [{ algorithm: "md5", hex: "0".repeat(32) }]);
  digests.mockRejectedValueOnce(passing);
  const from = { ...source(TEXT), digests };
  await expect(download(from)).rejects.toMatchObject({ reason: "ArtifactInvalid" });
  digests.mockRejectedValue(new AdapterError("ArtifactDenied", "refused", { retryable: false }));
  await expect(download(from)).rejects.toMatchObject({ reason: "ArtifactDenied" });
});
