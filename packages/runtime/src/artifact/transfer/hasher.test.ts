import { createHash } from "node:crypto";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Digests } from "./digests.ts";
import { Hasher } from "./hasher.ts";

let dir: string;
const hasher = new Hasher();
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "hasher-"));
});
afterEach(async () => {
  await hasher.close();
  await rm(dir, { recursive: true });
});

async function file(bytes: Buffer): Promise<string> {
  const path = join(dir, crypto.randomUUID());
  await writeFile(path, bytes);
  return path;
}

test.each([0, 11, 2 ** 20, 3 * 2 ** 20 + 7])("hashes a file of %i bytes by every algorithm, as far as it is told to", async (size) => {
  const bytes = Buffer.alloc(size, "hello world");
  const hash = hasher.open(await file(bytes), size, ["sha256", "md5", "crc32", "git-sha1", "sha1"]);
  for (let at = 0; at < size; at += 1_000_000) hash.advance(at);
  hash.advance(size);
  const of = (algorithm: string, ...parts: (string | Buffer)[]) => {
    const made = createHash(algorithm);
    for (const part of parts) made.update(part);
    return made.digest("hex");
  };
  expect(await hash.result).toEqual({
    sha256: of("sha256", bytes),
    md5: of("md5", bytes),
    sha1: of("sha1", bytes),
    "git-sha1": of("sha1", `blob ${size}\0`, bytes),
    crc32: crc32(bytes).toString(16).padStart(8, "0"),
  });
});

// The check values of the catalogue of parametrised CRC algorithms.
test.each([
  ["crc32c", "e3069283"],
  ["crc64nvme", "ae8b14860a799888"],
] as const)("%s, of a small file and of one that a thread reads", async (algorithm, ofDigits) => {
  const digits = hasher.open(await file(Buffer.from("123456789")), 9, [algorithm]);
  digits.advance(9);
  expect((await digits.result)[algorithm]).toBe(ofDigits);
  const bytes = Buffer.alloc(2 ** 21 + 1, "123456789");
  const path = await file(bytes);
  const [inSteps, atOnce] = [hasher.open(path, bytes.length, [algorithm]), await Digests.begin([algorithm], bytes.length)];
  for (let at = 0; at < bytes.length; at += 700_001) inSteps.advance(at);
  inSteps.advance(bytes.length);
  atOnce.update(bytes);
  expect(await inSteps.result).toEqual(atOnce.hex());
});

test("many at once, and one that is given up", async () => {
  const bytes = Buffer.alloc(2 ** 21, "x");
  const hashes = await Promise.all(Array.from({ length: 8 }, async () => hasher.open(await file(bytes), bytes.length, ["sha256"])));
  hashes[0]?.advance(5);
  hashes[0]?.drop();
  for (const hash of hashes) hash.advance(bytes.length);
  const want = createHash("sha256").update(bytes).digest("hex");
  await expect(hashes[0]?.result).rejects.toThrow("given up");
  expect((await Promise.all(hashes.slice(1).map((h) => h.result))).map((h) => h.sha256)).toEqual(Array(7).fill(want));
});

test("a file that is not there, or shorter than it was told, is an error and no wait for ever", async () => {
  await expect(hasher.open(join(dir, "none"), 2 ** 21, ["sha256"]).result).rejects.toMatchObject({ code: "ENOENT" });
  const path = await file(Buffer.alloc(2 ** 21));
  await truncate(path, 1_000);
  const hash = hasher.open(path, 2 ** 21, ["sha256"]);
  hash.advance(2 ** 21);
  await expect(hash.result).rejects.toThrow("ends at 1000 of");
});
