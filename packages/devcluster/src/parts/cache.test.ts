import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cacheRoot, ensureCached } from "./cache.ts";
import type { PartContext } from "./part-context.ts";

const PART = { name: "thing", version: "1.2.3", recipe: 1 };

let cacheDir: string;
let context: PartContext;
let builds: number;

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "cache-"));
  context = { cacheDir, log: () => undefined, signal: new AbortController().signal };
  builds = 0;
});
afterEach(() => rm(cacheDir, { recursive: true, force: true }));

async function build(dir: string): Promise<void> {
  builds += 1;
  await writeFile(join(dir, "program"), `build ${builds}`);
}

test.each([
  [{ AIBRIX_CACHE_DIR: "/a", XDG_CACHE_HOME: "/b" }, "/a"],
  [{ XDG_CACHE_HOME: "/b" }, "/b/aibrix-lora"],
  [{ AIBRIX_CACHE_DIR: "", XDG_CACHE_HOME: "" }, expect.stringMatching(/\/\.cache\/aibrix-lora$/)],
])("cache folder with %o", (env, expected) => {
  expect(cacheRoot(env)).toEqual(expected);
});

test("a part is built once", async () => {
  const dir = await ensureCached(PART, context, build);
  expect(dir).toBe(join(cacheDir, "thing-1.2.3"));
  expect(await ensureCached(PART, context, build)).toBe(dir);
  expect(builds).toBe(1);
});

test("two at once build it once", async () => {
  await Promise.all([ensureCached(PART, context, build), ensureCached(PART, context, build)]);
  expect(builds).toBe(1);
});

test("what a broken build left is removed before the next one", async () => {
  const dir = await ensureCached(PART, context, build);
  await rm(join(dir, ".complete.json"));
  await writeFile(join(dir, "left over"), "");
  await ensureCached(PART, context, build);
  expect((await readdir(dir)).sort()).toEqual([".complete.json", "program"]);
  expect(await readFile(join(dir, "program"), "utf8")).toBe("build 2");
});

test("a failed build leaves nothing and fails with its own error", async () => {
  const failing = async (dir: string): Promise<void> => {
    await build(dir);
    throw new Error("no compiler");
  };
  await expect(ensureCached(PART, context, failing)).rejects.toThrow("no compiler");
  expect((await readdir(cacheDir)).sort()).toEqual(["locks"]);
  await ensureCached(PART, context, build);
  expect(builds).toBe(2);
});

test("another recipe builds anew, another version beside", async () => {
  await ensureCached(PART, context, build);
  await ensureCached({ ...PART, recipe: 2 }, context, build);
  expect(builds).toBe(2);
  await ensureCached({ ...PART, version: "2.0.0" }, context, build);
  expect((await readdir(cacheDir)).sort()).toEqual(["locks", "thing-1.2.3", "thing-2.0.0"]);
});
