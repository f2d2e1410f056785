import { mkdtemp, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { testStore } from "../../../test/fakes.ts";

// No file system without hard links is at hand everywhere; all else here is real.
vi.mock("node:fs/promises", async (original) => ({
  ...(await original<object>()),
  link: async () => {
    throw Object.assign(new Error("no links"), { code: "EPERM" });
  },
}));

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "copies-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("without hard links, content whose files came long before its end is complete, and stays so", async () => {
  const store = testStore(dir);
  await store.open();
  const folder = await store.newFolder();
  await writeFile(join(folder, "w"), "one");
  const past = new Date(Date.now() - 60_000);
  await utimes(join(folder, "w"), past, past);
  const about = { artifact_url: "hf://a/b", source_fingerprint: "f", fetched_at: "2026-01-01T00:00:00Z" };
  const { path, digest } = await store.install("a", folder, { ...about, files: [{ name: "w", sizeBytes: 3, sha256: "one" }] });
  expect((await stat(join(path, "w"))).nlink).toBe(1);
  expect(await store.isComplete("a", digest)).toBe(true);
  expect(await store.fromPool("a", about)).toMatchObject({ path });
  expect(await store.isComplete("a", digest)).toBe(true);

  // Another adapter's copy is taken for the file that was checked, too, and one that was written into is not.
  expect(await store.fromPool("b", about)).toMatchObject({ digest });
  expect(await store.isComplete("b", digest)).toBe(true);
  await writeFile(join(path, "w"), "two");
  expect(await store.isComplete("a", digest)).toBe(false);
});
