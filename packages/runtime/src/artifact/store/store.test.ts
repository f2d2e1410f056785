import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { NEVER, testStore } from "../../../test/fakes.ts";
import { createMetrics } from "../../metrics.ts";
import { type ArtifactStore, type ContentManifest, contentDigest } from "./store.ts";

let dir: string;
let store: ArtifactStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "store-"));
  store = testStore(dir);
  await store.open();
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const about = (text: string, url = "hf://a/b") => ({
  artifact_url: url,
  source_fingerprint: `f-${text}`,
  fetched_at: "2026-01-01T00:00:00Z",
});

async function install(name: string, text: string, fetchedAt = "2026-01-01T00:00:00Z", url = "hf://a/b", into = store) {
  const folder = await into.newFolder();
  await writeFile(join(folder, "w"), text);
  const files = [{ name: "w", sizeBytes: text.length, sha256: text }];
  const manifest: ContentManifest = { ...about(text, url), fetched_at: fetchedAt, files };
  return await into.install(name, folder, manifest);
}

const inode = async (path: string) => (await stat(join(path, "w"))).ino;
const pooled = async () => (await readdir(join(dir, ".cache/contents"))).sort();
const hex = (digest: string) => digest.replace("sha256:", "");
/** Makes a content look as if it had been used that many days ago. */
async function age(digest: string, days: number): Promise<void> {
  const at = new Date(Date.now() - days * 86_400_000);
  await utimes(join(dir, ".cache/contents", hex(digest), ".aibrix-manifest.json"), at, at);
}

test("content has a path of its own, made of name and digest", async () => {
  const one = await install("a", "one");
  const two = await install("a", "two");
  expect(one.path).toBe(join(dir, "a", one.digest.replace("sha256:", "")));
  expect(two.path).not.toBe(one.path);
  expect(await readFile(join(one.path, "w"), "utf8")).toBe("one");
  expect(store.digestOf("a", one.path)).toBe(one.digest);
  expect(store.digestOf("a", "/elsewhere")).toBeUndefined();
  expect(store.digestOf("b", one.path)).toBeUndefined();
  expect(await readdir(join(dir, ".tmp"))).toEqual([]);
});

test("the same content again leaves what is there, for an engine may be reading it", async () => {
  const first = await install("a", "one");
  const before = await stat(join(first.path, "w"));
  await install("a", "one");
  expect((await stat(join(first.path, "w"))).ino).toBe(before.ino);
  expect(await readdir(join(dir, ".tmp"))).toEqual([]);
});

test("a file that somebody removed is put back", async () => {
  const first = await install("a", "one");
  expect(await store.isComplete("a", first.digest)).toBe(true);
  await rm(join(first.path, "w"));
  expect(await store.isComplete("a", first.digest)).toBe(false);
  await install("a", "one");
  expect(await store.isComplete("a", first.digest)).toBe(true);
});

test("a file that was cut short counts as missing", async () => {
  const first = await install("a", "one");
  await writeFile(join(first.path, "w"), "on");
  expect(await store.isComplete("a", first.digest)).toBe(false);
  expect(await store.find("a", "hf://a/b")).toEqual([]);
});

test("finds what came from a URL, the last first", async () => {
  const old = await install("a", "one", "2026-01-01T00:00:00Z");
  const young = await install("a", "two", "2026-02-01T00:00:00Z");
  await install("a", "other", "2026-03-01T00:00:00Z", "hf://c/d");
  expect((await store.find("a", "hf://a/b")).map((c) => c.digest)).toEqual([young.digest, old.digest]);
  await store.touch("a", old, "2026-04-01T00:00:00Z");
  expect((await store.find("a", "hf://a/b")).map((c) => c.digest)).toEqual([old.digest, young.digest]);
  expect(await store.find("b", "hf://a/b")).toEqual([]);
});

test("opening sweeps half downloads and nothing else", async () => {
  const kept = await install("a", "one");
  await writeFile(join(await store.newFolder(), "half"), "x");
  await testStore(dir).open();
  expect(await readdir(join(dir, ".tmp"))).toEqual([]);
  expect(await store.isComplete("a", kept.digest)).toBe(true);
});

test("an engine that runs as another user can read what is installed", async () => {
  const { path } = await install("a", "one");
  expect((await stat(path)).mode & 0o055).toBe(0o055 & ~process.umask());
});

test("dropping a name takes every content of it and no other's", async () => {
  await install("a", "one");
  const other = await install("ab", "one");
  await store.drop("a");
  await store.drop("never-there");
  expect((await readdir(dir)).sort()).toEqual([".cache", ".tmp", "ab"]);
  expect(await store.isComplete("ab", other.digest)).toBe(true);
});

test("the same content under two names, from two sources or in two pods, is on the volume once", async () => {
  const a = await install("a", "one");
  const b = await install("b", "one", undefined, "s3://other/source");
  const other = testStore(dir, { podFolder: "pod-2" });
  await other.open();
  const c = await other.fromPool("a", about("one"));
  expect(c).toMatchObject({ path: join(dir, "pods/pod-2/a", hex(a.digest)), digest: a.digest });
  expect(new Set([await inode(a.path), await inode(b.path), await inode(c?.path ?? "")]).size).toBe(1);
  expect(await pooled()).toEqual([hex(a.digest)]);
  expect(await store.find("b", "s3://other/source")).toHaveLength(1);
});

test("what was fetched for another name is found by what its source says, and by nothing else", async () => {
  const a = await install("a", "one");
  expect(await store.fromPool("b", about("one"))).toMatchObject({ digest: a.digest, path: join(dir, "b", hex(a.digest)) });
  expect(await store.fromPool("b", about("two"))).toBeUndefined();
  expect(await store.fromPool("b", about("one", "hf://c/d"))).toBeUndefined();
  expect(await readdir(join(dir, ".tmp"))).toEqual([]);
});

test.each([
  { name: "another size", damage: async (file: string) => await writeFile(file, "on") },
  { name: "the same size", damage: async (file: string) => await writeFile(file, "ONE") },
])("content that somebody changed to $name is neither given to an engine nor to another adapter", async ({ damage }) => {
  const a = await install("a", "one");
  await damage(join(a.path, "w"));
  const later = new Date(Date.now() + 10_000);
  await utimes(join(a.path, "w"), later, later);
  expect(await store.isComplete("a", a.digest)).toBe(false);
  expect(await store.fromPool("b", about("one"))).toBeUndefined();
  expect(await pooled()).toEqual([]);
});

test("the sweep drops what is not needed any more; the cache keeps it until room is needed", async () => {
  const old = await install("a", "one");
  const now = await install("a", "two");
  const gone = await install("b", "three");
  await mkdir(join(dir, "b/notes"));
  await mkdir(join(dir, "mine"));
  await writeFile(join(dir, "mine/file"), "x");
  await store.sweep((name, digest) => name === "a" && digest === now.digest);
  expect(await store.isComplete("a", old.digest)).toBe(false);
  expect(await store.isComplete("a", now.digest)).toBe(true);
  expect((await readdir(dir)).sort()).toEqual([".cache", ".former", ".tmp", "a", "b", "mine"]);
  expect(await readdir(join(dir, "b"))).toEqual(["notes"]);
  expect(await pooled()).toEqual([old, now, gone].map((c) => hex(c.digest)).sort());
  expect(await store.fromPool("b", about("three"))).toMatchObject({ path: gone.path });
});

test("of what an adapter had before, the last three contents stay in the cache, also over restarts, and go with its name", async () => {
  const contents: Awaited<ReturnType<typeof install>>[] = [];
  const left = (...numbers: readonly number[]) => numbers.map((n) => hex(contents[n]?.digest ?? "")).sort();
  const now = (n: number) => async () => await store.sweep((name, digest) => name === "a" && digest === contents[n]?.digest);
  for (let n = 0; n < 6; n++) {
    contents.push(await install("a", `content ${n}`));
    await now(n)();
    store = testStore(dir);
    await store.open();
  }
  expect(await pooled()).toEqual(left(2, 3, 4, 5));

  // Back to an older one, which is none of those before any more, and on again.
  expect(await store.fromPool("a", about("content 2"))).toMatchObject({ digest: contents[2]?.digest });
  await now(2)();
  expect(await pooled()).toEqual(left(2, 3, 4, 5));
  contents.push(await install("a", "content 6"));
  await now(6)();
  expect(await pooled()).toEqual(left(2, 4, 5, 6));

  // What another adapter has stays, whoever had it before.
  await install("b", "content 4");
  const all = (name: string, digest: string) => name === "b" || digest === contents.at(-1)?.digest;
  for (const text of ["content 7", "content 8"]) {
    contents.push(await install("a", text));
    await store.sweep(all);
  }
  expect(await pooled()).toEqual(left(2, 4, 6, 7, 8));
  await store.drop("a");
  expect(await pooled()).toEqual(left(4));
  expect(await readdir(join(dir, ".former"))).toEqual([]);
});

test("of many contents that are given up at once the last three stay, whatever their digests; a volume that takes no note is swept, too", async () => {
  const texts = ["f", "e", "d", "c", "b", "a", "0"];
  const contents: Awaited<ReturnType<typeof install>>[] = [];
  for (const [i, text] of texts.entries()) {
    const content = await install("a", text);
    await utimes(content.path, i, i);
    contents.push(content);
  }
  const now = contents.at(-1)?.digest;
  await store.sweep((_, digest) => digest === now);
  expect(await pooled()).toEqual(
    contents
      .slice(-4)
      .map((c) => hex(c.digest))
      .sort(),
  );

  await rm(join(dir, ".former"), { recursive: true });
  await writeFile(join(dir, ".former"), "a file where no folder can be made");
  await store.sweep(() => false);
  expect(await readdir(dir)).not.toContain("a");
  expect(await pooled()).toHaveLength(4);
});

test("one pod's sweep, drop and eviction touch nothing of another's", async () => {
  const [one, two] = ["pod-1", "pod-2"].map((podFolder) =>
    testStore(dir, { podFolder, bounds: { maxBytes: 0, minFree: { bytes: 0 } } }),
  ) as [ArtifactStore, ArtifactStore];
  await one.open();
  await two.open();
  const mine = await install("a", "one", undefined, undefined, one);
  const theirs = await install("a", "one", undefined, undefined, two);
  await one.drop("a");
  await one.sweep(() => false);
  await one.makeRoom(1_000);
  expect(await two.isComplete("a", theirs.digest)).toBe(true);
  expect(await readFile(join(theirs.path, "w"), "utf8")).toBe("one");
  expect(await one.isComplete("a", mine.digest)).toBe(false);
  expect(await pooled()).toEqual([hex(mine.digest)]);
  await two.drop("a");
  expect(await pooled()).toEqual([]);
});

test("evicts what was used least recently and no adapter has, also after a restart, and counts it", async () => {
  const contents = await Promise.all(["1", "2", "3", "4"].map(async (text) => await install(`a${text}`, text.repeat(1_000))));
  await store.sweep((name) => name === "a1");
  await Promise.all(contents.map((c, i) => age(c.digest, 10 - i)));
  await store.used("a2", join(dir, "a2", hex(contents[1]?.digest ?? "")));
  const metrics = createMetrics();
  const next = testStore(dir, { metrics, bounds: { maxBytes: 5_000, minFree: { bytes: 0 } } });
  await next.open();
  await next.makeRoom(0);
  const left = (numbers: readonly number[]) => numbers.map((n) => hex(contents[n - 1]?.digest ?? "")).sort();
  expect(await pooled()).toEqual(left([1, 2]));
  expect(await metrics.registry.metrics()).toMatch(/cache_evictions_total 2$/m);
  expect(await metrics.registry.metrics()).toMatch(/cache_entries\{volume="[^"]*"\} 2$/m);
  await next.makeRoom(5_000);
  expect(await pooled()).toEqual(left([1]));
  expect(await next.isComplete("a1", contents[0]?.digest ?? "")).toBe(true);
});

test("half downloads that nobody works on give way too", async () => {
  const partial = await store.partial({ key: "1".repeat(64), artifactUrl: "hf://a/half" }, NEVER);
  await writeFile(join(partial.files, "w"), "x".repeat(10_000));
  const tight = testStore(dir, { bounds: { maxBytes: 0, minFree: { bytes: 0 } } });
  await tight.makeRoom(0);
  expect(await readFile(join(partial.files, "w"), "utf8")).toHaveLength(10_000);
  await partial.release();
  await tight.makeRoom(0);
  expect(await readdir(join(dir, ".cache/partial"))).toEqual([]);
});

test("what running downloads have here counts for the bounds", async () => {
  const { digest } = await install("a", "x".repeat(5_000));
  await store.sweep(() => false);
  const growing = await store.partial({ key: "1".repeat(64), artifactUrl: "hf://a/half" }, NEVER);
  await mkdir(join(growing.files, "unpacked"));
  const tight = testStore(dir, { bounds: { maxBytes: 25_000, minFree: { bytes: 0 } } });
  await tight.makeRoom(10_000);
  expect(await pooled()).toEqual([hex(digest)]);
  await writeFile(join(growing.files, "unpacked/w"), "x".repeat(10_000));
  await tight.makeRoom(10_000);
  expect(await pooled()).toEqual([]);
  await growing.release();
});

test("a file of the user's in a folder for passing things stays, and what was left there goes", async () => {
  const left = await store.newFolder();
  await mkdir(join(dir, ".tmp/mine"));
  await writeFile(join(dir, ".tmp/mine/thesis.txt"), "x");
  await store.open();
  expect(await readdir(join(dir, ".tmp"))).toEqual(["mine"]);
  expect(await readFile(join(dir, ".tmp/mine/thesis.txt"), "utf8")).toBe("x");
  await expect(stat(left)).rejects.toThrow("ENOENT");
});

test("what a pod that is gone left of a download is swept by another one while it runs", async () => {
  const [gone, other] = ["pod-1", "pod-2"].map((podFolder) => testStore(dir, { podFolder })) as [ArtifactStore, ArtifactStore];
  await gone.open();
  await other.open();
  const key = "1".repeat(64);
  const lock = { pod: "pod-1", instance: "x", token: "00000000-0000-4000-8000-000000000000", beat: 3 };
  const work = join(dir, ".cache/work", `${key}.${lock.token}`);
  await writeFile(join(dir, ".cache/locks", key), JSON.stringify(lock));
  await mkdir(join(work, "files"), { recursive: true });
  await writeFile(join(work, "of.json"), JSON.stringify({ artifact_url: "hf://a/b", pod: "pod-1" }));
  const left = () => Promise.all(["locks", "work", "partial"].map((folder) => readdir(join(dir, ".cache", folder))));
  const clock = vi.spyOn(performance, "now").mockReturnValue(0);
  try {
    await other.tend();
    expect(await left()).toEqual([[key], [expect.any(String)], []]);
    clock.mockReturnValue(60_000);
    await other.tend();
  } finally {
    clock.mockRestore();
  }
  expect(await left()).toEqual([[], [], [key]]);
});

test.each(["../b", "a/b", ".cache", "", "..", "a\0b", "a".repeat(64), "/etc"])("no name leads out of the folder: %j", async (name) => {
  await expect(install(name, "one")).rejects.toThrow("cannot be a folder's name");
  await expect(store.drop(name)).rejects.toThrow("cannot be a folder's name");
  expect(() => store.digestOf(name, "/x")).toThrow("cannot be a folder's name");
  expect((await readdir(dir)).sort()).toEqual([".cache", ".tmp"]);
});

test("no file of an artifact leads out of its folder", async () => {
  const folder = await store.newFolder();
  await writeFile(join(dir, ".tmp/w"), "one");
  const files = [{ name: "../w", sizeBytes: 3, sha256: "one" }];
  await expect(store.install("a", folder, { ...about("one"), files })).rejects.toThrow("cannot be a file of an adapter");
});

test("an engine of another user can read what a runtime with a narrow umask has installed", async () => {
  const before = process.umask(0o077);
  try {
    const narrow = testStore(join(dir, "narrow"), { podFolder: "pod" });
    await narrow.open();
    const { path } = await install("a", "one", undefined, undefined, narrow);
    for (let folder = path; folder !== dir; folder = join(folder, "..")) expect((await stat(folder)).mode & 0o777).toBe(0o755);
    for (const file of await readdir(path)) expect((await stat(join(path, file))).mode & 0o777).toBe(0o644);
  } finally {
    process.umask(before);
  }
});

test("strange folders beside the contents do no harm", async () => {
  await install("a", "one");
  await mkdir(join(dir, "a", "lost+found"));
  await writeFile(join(dir, "a", "notes.txt"), "");
  expect(await store.find("a", "hf://a/b")).toHaveLength(1);
});

test("the digest is of names, sizes and hashes, in no particular order", () => {
  const a = { name: "a", sizeBytes: 1, sha256: "x" };
  const b = { name: "b", sizeBytes: 2, sha256: "y" };
  expect(contentDigest([a, b])).toBe(contentDigest([b, a]));
  expect(contentDigest([a])).not.toBe(contentDigest([{ ...a, name: "c" }]));
  expect(contentDigest([a])).not.toBe(contentDigest([{ ...a, sha256: "z" }]));
  expect(contentDigest([a])).toMatch(/^sha256:[0-9a-f]{64}$/);
});
