import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ArtifactStore, type ContentManifest, contentDigest } from "./store.ts";

let dir: string;
let store: ArtifactStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "store-"));
  store = new ArtifactStore(dir);
  await store.open();
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function install(name: string, text: string, fetchedAt = "2026-01-01T00:00:00Z", url = "hf://a/b") {
  const folder = await store.newFolder();
  await writeFile(join(folder, "w"), text);
  const manifest: ContentManifest = {
    artifact_url: url,
    source_fingerprint: `f-${text}`,
    fetched_at: fetchedAt,
    files: [{ name: "w", sizeBytes: text.length, sha256: text }],
  };
  return await store.install(name, folder, manifest);
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
  await new ArtifactStore(dir).open();
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
  expect((await readdir(dir)).sort()).toEqual([".tmp", "ab"]);
  expect(await store.isComplete("ab", other.digest)).toBe(true);
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
