import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync, gzipSync } from "node:zlib";
import type { ArchiveKind } from "@aibrix/api";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { AdapterError } from "../../errors.ts";
import { Bounds, MAX_ENTRIES } from "./entries.ts";
import { Headroom, NoRoomToUnpack } from "./headroom.ts";
import { unpackArchive } from "./unpack.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "aibrix-unpack-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

interface Entry {
  readonly name: string;
  readonly body?: string | Buffer;
  /** Of tar: `0` file, `1` hard link, `2` symbolic link, `3` device, `5` folder, `6` pipe, `L` long name. */
  readonly type?: string;
  readonly link?: string;
  /** Of zip: the mode as Unix has it. */
  readonly mode?: number;
  /** Says another size than it has. */
  readonly size?: number;
}

/** A tar by hand: libraries refuse to write what is tested here. */
function tar(entries: readonly Entry[], end = true): Buffer {
  const blocks = entries.flatMap(({ name, body = "", type = "0", link = "", size }) => {
    const content = Buffer.from(body);
    const header = Buffer.alloc(512);
    header.write(name, 0, 100);
    header.write("0000644\0", 100);
    header.write("0000000\0", 108);
    header.write("0000000\0", 116);
    header.write(`${(size ?? content.length).toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0", 136);
    header.write("        ", 148);
    header.write(type, 156);
    header.write(link, 157, 100);
    header.write("ustar\0" + "00", 257);
    const sum = header.reduce((a, b) => a + b, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, ...(end ? [Buffer.alloc(1024)] : [])]);
}

/** A zip by hand, for the same reason. */
function zip(entries: readonly Entry[]): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, body = "", mode = 0o100644, size } of entries) {
    const content = Buffer.from(body);
    const packed = deflateRawSync(content);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(0x800, 2);
    fields.writeUInt16LE(8, 4);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(size ?? content.length, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const start = Buffer.concat([Buffer.from("PK\x03\x04"), fields, Buffer.from(name), packed]);
    const more = Buffer.alloc(14);
    more.writeUInt32LE((mode << 16) >>> 0, 6);
    more.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), fields, more, Buffer.from(name)]));
    local.push(start);
    offset += start.length;
  }
  const directory = Buffer.concat(central);
  const tail = Buffer.alloc(18);
  tail.writeUInt16LE(entries.length, 4);
  tail.writeUInt16LE(entries.length, 6);
  tail.writeUInt32LE(directory.length, 8);
  tail.writeUInt32LE(offset, 12);
  return Buffer.concat([...local, directory, Buffer.from("PK\x05\x06"), tail]);
}

const CONFIG = { name: "adapter_config.json", body: '{"r":8}' };
const WEIGHTS = { name: "adapter_model.safetensors", body: "weights" };
const ADAPTER = [CONFIG, WEIGHTS];
const inFolder = (folder: string) => ADAPTER.map((e) => ({ ...e, name: `${folder}/${e.name}` }));

const KINDS: readonly { readonly kind: ArchiveKind; readonly pack: (entries: readonly Entry[]) => Buffer }[] = [
  { kind: "tar", pack: tar },
  { kind: "tar.gz", pack: (e) => gzipSync(tar(e)) },
  { kind: "zip", pack: zip },
];

async function unpack(kind: ArchiveKind, bytes: Buffer) {
  const path = join(dir, "archive");
  const folder = join(dir, "out/inner");
  await writeFile(path, bytes);
  await mkdir(folder, { recursive: true });
  return await unpackArchive({ path, kind }, folder, "https://h/a", NEVER);
}

async function refusal(kind: ArchiveKind, bytes: Buffer): Promise<AdapterError> {
  const error = await unpack(kind, bytes).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(AdapterError);
  expect(error).toMatchObject({ reason: "ArtifactInvalid", retryable: false });
  // Nothing of it stays, and nothing came beside the folder.
  expect(await readdir(join(dir, "out/inner"))).toEqual([]);
  expect(await readdir(join(dir, "out"))).toEqual(["inner"]);
  return error as AdapterError;
}

describe.each(KINDS)("$kind", ({ kind, pack }) => {
  test.each([
    { name: "files at the top", entries: ADAPTER },
    { name: "in one folder", entries: [{ name: "adapter/", type: "5", mode: 0o040755 }, ...inFolder("adapter")] },
    { name: "with ./ before them", entries: [{ name: "./", type: "5", mode: 0o040755 }, ...inFolder(".")] },
    {
      name: "packed on macOS",
      entries: [...inFolder("a"), { name: "__MACOSX/a/._x", body: "x" }, { name: "a/._adapter_config.json", body: "x" }],
    },
    { name: "beside checkpoints", entries: [...ADAPTER, { name: "checkpoint-1/adapter_config.json", body: "{}" }] },
    { name: "with two slashes", entries: inFolder("a/") },
  ])("$name", async ({ entries }) => {
    const files = await unpack(kind, pack(entries));
    expect(files.map((f) => f.name).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const out = join(dir, "out/inner");
    expect((await readdir(out)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expect(await readFile(join(out, "adapter_config.json"), "utf8")).toBe('{"r":8}');
  });

  test.each([
    {
      name: "walks up",
      entry: { name: "../evil" },
      says: /"\.\.\/evil" is refused, its name leaves the folder|invalid relative path: \.\.\/evil/,
    },
    { name: "walks up in the middle", entry: { name: "a/../../evil" }, says: /leaves the folder|invalid relative path/ },
    { name: "is absolute", entry: { name: "/etc/evil" }, says: /its name is absolute|absolute path/ },
    { name: "is absolute on Windows", entry: { name: "C:/evil" }, says: /its name is absolute|absolute path/ },
    { name: "has a backslash", entry: { name: "a\\..\\evil" }, says: /characters that no file should have|invalid relative path/ },
    { name: "has a line break", entry: { name: "a\nb" }, says: /characters that no file should have/ },
    { name: "is there twice", entry: CONFIG, says: /"adapter_config\.json" is refused, its name is there twice/ },
    { name: "is there twice in another form", entry: { name: ".//adapter_config.json" }, says: /is there twice/ },
    { name: "is a symbolic link", entry: { name: "x", type: "2", link: "/etc/passwd", mode: 0o120777 }, says: /no plain file but a/ },
    { name: "is a pipe", entry: { name: "x", type: "6", mode: 0o010644 }, says: /no plain file but a/ },
    { name: "is a device", entry: { name: "x", type: "3", mode: 0o020644 }, says: /no plain file but a/ },
  ])("an entry that $name is refused with the whole archive", async ({ entry, says }) => {
    const error = await refusal(kind, pack([...ADAPTER, entry]));
    expect(error.message).toMatch(says);
    expect(existsSync("/etc/evil")).toBe(false);
  });

  test("what is no such archive, is cut, or is empty", async () => {
    await refusal(kind, Buffer.from("<html>not found</html>".repeat(100)));
    await refusal(kind, Buffer.alloc(0));
    const whole = pack([CONFIG, { ...WEIGHTS, body: Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251)) }]);
    await refusal(kind, whole.subarray(0, whole.length - (kind === "tar" ? 2048 : 100)));
    expect((await refusal(kind, pack([]))).message).toMatch(/adapter_config\.json is missing|cannot be read as a tar/);
  });

  test("weights as a pickle only are told as such", async () => {
    expect((await refusal(kind, pack([CONFIG, { name: "adapter_model.bin", body: "x" }]))).message).toMatch(/Python pickle/);
  });

  test("too many entries", async () => {
    const many = Array.from({ length: MAX_ENTRIES + 1 }, (_, i) => ({ name: `f${i}` }));
    expect((await refusal(kind, pack(many))).message).toMatch(/more than 1000 entries/);
  });

  test("an archive that was cut or scribbled on never does harm", async () => {
    const whole = pack([{ name: "a/", type: "5", mode: 0o040755 }, ...inFolder("a"), { name: "a/README.md", body: "x".repeat(700) }]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(whole.length),
        async (scribbles, cut) => {
          const bytes = Buffer.from(whole.subarray(0, whole.length - (cut % 3 === 0 ? cut : 0)));
          for (const [at, value] of scribbles) if (at < bytes.length) bytes[at] = value;
          await harmless(kind, bytes);
        },
      ),
      { numRuns: 30 },
    );
  }, 60_000);

  test("entries of any name and kind never do harm", async () => {
    const part = fc.constantFrom("..", ".", "", "a", "/", "\\", "adapter_config.json", "\u0000", "é", "C:");
    const name = fc.oneof(
      fc.array(part, { maxLength: 5 }).map((p) => p.join("/")),
      fc.string({ unit: "binary", maxLength: 30 }),
    );
    const entry = fc.record({
      name,
      body: fc.string({ maxLength: 40 }),
      type: fc.constantFrom("0", "0", "0", "1", "2", "3", "4", "5", "6", "7", "L", "K", "x", "g", "S", "Z"),
      link: fc.constantFrom("", "/etc/passwd", "../../x"),
      mode: fc.constantFrom(0o100644, 0o120777, 0o040755, 0o020644, 0),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 6 }), fc.boolean(), async (entries, whole) => {
        await harmless(kind, pack(whole ? [...ADAPTER, ...entries] : entries));
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});

/** Unpacks, or is refused in words; either way nothing is beside the folder, and in it are plain files only. */
async function harmless(kind: ArchiveKind, bytes: Buffer): Promise<void> {
  const error = await unpack(kind, bytes).then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error !== undefined) expect(error).toMatchObject({ name: "AdapterError", reason: "ArtifactInvalid" });
  expect((await readdir(dir)).sort()).toEqual(["archive", "out"]);
  expect(await readdir(join(dir, "out"))).toEqual(["inner"]);
  for (const file of await readdir(join(dir, "out/inner"), { withFileTypes: true })) expect(file.isFile()).toBe(true);
  await rm(join(dir, "out"), { recursive: true });
}

test("a hard link is refused", async () => {
  const error = await refusal("tar", tar([...ADAPTER, { name: "x", type: "1", link: "adapter_config.json" }]));
  expect(error.message).toMatch(/no plain file but a Link/);
});

test.each(KINDS.filter((k) => k.kind !== "tar"))(
  "a $kind that grows beyond its bound is refused before the disk is full",
  async ({ kind, pack }) => {
    const bomb = pack([CONFIG, { name: "adapter_model.safetensors", body: Buffer.alloc(80 * 1024 * 1024) }]);
    expect(bomb.length).toBeLessThan(512 * 1024);
    expect((await refusal(kind, bomb)).message).toMatch(/unpacks to more than 67108864 bytes/);
  },
);

test("an archive in two gzips, of which the first is a single byte of the next gzip's magic, is refused", async () => {
  const inner = gzipSync(tar([CONFIG, { name: "adapter_model.safetensors", body: Buffer.alloc(80 * 1024 * 1024) }]));
  // A member as long as a chunk of the file, so that its one byte is decompressed by itself: the name in its header is as long as it takes.
  const member = gzipSync(inner.subarray(0, 1));
  const header = Buffer.from(member.subarray(0, 10));
  header[3] = 0x08;
  const padded = Buffer.concat([header, Buffer.alloc(65_536 - member.length - 1, "n"), Buffer.from([0]), member.subarray(10)]);
  expect(padded.length).toBe(65_536);
  const bomb = Buffer.concat([padded, gzipSync(inner.subarray(1))]);
  expect((await refusal("tar.gz", bomb)).message).toMatch(/compressed twice/);
});

test("what is written is counted by itself, whatever was counted before", () => {
  const bounds = new Bounds(1);
  bounds.bytes(1);
  bounds.written(64 * 1024 * 1024);
  expect(() => bounds.written(1)).toThrow(/unpacks to more than 67108864 bytes/);
});

test("half zeros, as a fresh adapter has, are no bomb", async () => {
  const files = await unpack(
    "tar.gz",
    gzipSync(tar([CONFIG, { name: "adapter_model.safetensors", body: Buffer.alloc(20 * 1024 * 1024) }])),
  );
  expect(files).toHaveLength(2);
  expect((await stat(join(dir, "out/inner/adapter_model.safetensors"))).size).toBe(20 * 1024 * 1024);
});

test.each([
  { name: "compressed twice", kind: "tar.gz" as const, bytes: gzipSync(gzipSync(tar(ADAPTER))), says: /compressed twice/ },
  { name: "compressed and named .tar", kind: "tar" as const, bytes: gzipSync(tar(ADAPTER)), says: /its name says that it is not/ },
  {
    name: "with a header too long to be held",
    kind: "tar" as const,
    bytes: tar([{ name: "long", type: "L", body: "a".repeat(100_000) }, ...ADAPTER]),
    says: /header is too long/,
  },
  {
    name: "with a zip entry of another size than it says",
    kind: "zip" as const,
    bytes: zip([CONFIG, { ...WEIGHTS, size: 3 }]),
    says: /cannot be read as a zip/,
  },
])("$name", async ({ kind, bytes, says }) => {
  expect((await refusal(kind, bytes)).message).toMatch(says);
});

test.each(KINDS)("a $kind that the volume has no room for is ended before the reserve, and told with figures", async ({ kind, pack }) => {
  const path = join(dir, "archive");
  const folder = join(dir, "out");
  await writeFile(path, pack([CONFIG, { name: "adapter_model.safetensors", body: Buffer.alloc(50 * 2 ** 20) }]));
  await mkdir(folder);
  const looks: string[] = [];
  const headroom = new Headroom(folder, async (at) => {
    looks.push(at);
    return (100 - 10 * looks.length) * 2 ** 20;
  });
  const error = await unpackArchive({ path, kind }, folder, "x", NEVER, headroom).catch((e: unknown) => e);
  expect(error).toMatchObject({
    reason: "StorageFull",
    retryable: true,
    message: expect.stringMatching(/70\.0 MiB free \(64\.0 MiB stay free\)/),
  });
  expect(error).toBeInstanceOf(NoRoomToUnpack);
  expect(looks).toEqual([folder, folder, folder]);
  expect(await readdir(folder)).toEqual([]);
});

test("an end in the middle of unpacking is that of the caller", async () => {
  const path = join(dir, "archive");
  await writeFile(path, gzipSync(tar(ADAPTER)));
  await mkdir(join(dir, "out"));
  const gone = AbortSignal.abort(new Error("unloaded"));
  await expect(unpackArchive({ path, kind: "tar.gz" }, join(dir, "out"), "x", gone)).rejects.toThrow("unloaded");
});
