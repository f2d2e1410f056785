import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SILENT } from "../../test/fakes.ts";
import { Memory } from "./memory.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "memory-"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(dir, { recursive: true });
});

async function open(): Promise<Memory> {
  const memory = new Memory(dir, SILENT);
  await memory.open();
  return memory;
}

test("remembers over a restart", async () => {
  const first = await open();
  await first.declare({ lora_name: "a", artifact_url: "/x", needs_api_key: false });
  await first.declare({ lora_name: "a", artifact_url: "/y", needs_api_key: true });
  await first.declare({ lora_name: "b", artifact_url: "/z", needs_api_key: false });
  await first.forgetDeclaration("b");
  await first.setLoaded("a", new Map([["/y", "sha256:1"]]), "boot-1");
  const second = await open();
  expect(second.declared).toEqual([{ lora_name: "a", artifact_url: "/y", needs_api_key: true }]);
  expect(second.loaded).toEqual([{ lora_name: "a", path: "/y", content_digest: "sha256:1" }]);
  expect(await readdir(join(dir, ".state"))).toEqual(["declared.json"]);
});

test("remembers that the pod was ready", async () => {
  const first = await open();
  expect(first.wasReady).toBe(false);
  await first.declare({ lora_name: "a", artifact_url: "/x", needs_api_key: false });
  expect((await open()).wasReady).toBe(false);
  await first.setReady();
  expect((await open()).wasReady).toBe(true);
});

test("many changes at once all count, and are written once", async () => {
  const memory = await open();
  const written = vi.spyOn(JSON, "stringify");
  await Promise.all([1, 2, 3, 4, 5].map((i) => memory.declare({ lora_name: `a${i}`, artifact_url: "/x", needs_api_key: false })));
  expect(written).toHaveBeenCalledTimes(1);
  expect((await open()).declared).toHaveLength(5);
});

test("files are due once the engine process that could read them is another", async () => {
  const memory = await open();
  await memory.addCleanup("a", "boot-1");
  await memory.addCleanup("unknown", undefined);
  expect(await memory.dueCleanups("boot-1")).toEqual([]);
  const later = await open();
  expect(await later.dueCleanups("boot-2")).toEqual(["a", "unknown"]);
  expect(await later.dueCleanups("boot-3")).toEqual([]);
});

test("files that were given up before any boot id was known stay for the first one", async () => {
  const memory = await open();
  await memory.addCleanup("a", undefined);
  expect(await memory.dueCleanups("boot-1")).toEqual([]);
  expect(await memory.dueCleanups("boot-2")).toEqual(["a"]);
});

test("what an engine's process was given counts as readable until another one runs, over restarts of the runtime", async () => {
  const first = await open();
  await first.setLoaded("a", new Map([["/1", "sha256:1"]]), undefined);
  await first.dueCleanups("boot-1");
  await first.setLoaded("a", new Map([["/2", "sha256:2"]]), "boot-1");
  await first.setLoaded("b", new Map([["/3", "sha256:3"]]), "boot-1");
  await first.setLoaded("b", new Map(), undefined);
  const next = await open();
  await next.dueCleanups("boot-1");
  for (const [name, digest] of [
    ["a", "sha256:1"],
    ["a", "sha256:2"],
    ["b", "sha256:3"],
  ] as const)
    expect(next.isReadable(name, digest)).toBe(true);
  expect(next.isReadable("b", "sha256:1")).toBe(false);
  await next.dueCleanups("boot-2");
  expect(next.isReadable("a", "sha256:1")).toBe(false);
  expect(next.isReadable("b", "sha256:3")).toBe(false);
  await next.setLoaded("a", new Map(), undefined);
  // The new process may have been given it before it was seen to be another.
  expect(next.isReadable("a", "sha256:2")).toBe(true);
});

test("what is found that nobody knows of counts as readable by the engine that runs, and no longer", async () => {
  const memory = await open();
  await memory.setLoaded("a", new Map([["/1", "sha256:1"]]), "boot-1");
  await memory.setLoaded("a", new Map(), "boot-1");
  await memory.adopt([
    { name: "a", digest: "sha256:1" },
    { name: "b", digest: "sha256:2" },
  ]);
  const next = await open();
  await next.dueCleanups("boot-1");
  expect(next.isReadable("b", "sha256:2")).toBe(true);
  await next.dueCleanups("boot-2");
  expect([next.isReadable("a", "sha256:1"), next.isReadable("b", "sha256:2")]).toEqual([false, false]);
});

test("a cleanup waits for a process that was given files of the name after it was asked for", async () => {
  const memory = await open();
  await memory.addCleanup("a", "boot-1");
  await memory.setLoaded("a", new Map([["/1", "sha256:1"]]), undefined);
  await memory.setLoaded("a", new Map(), undefined);
  expect(await memory.dueCleanups("boot-2")).toEqual([]);
  expect(await memory.dueCleanups("boot-3")).toEqual(["a"]);
});

test("named folders are remembered, each once; a state of before they were is read, too", async () => {
  const first = await open();
  await first.addFolder("/shared");
  await first.addFolder("/shared");
  expect((await open()).folders).toEqual(["/shared"]);
  await writeFile(join(dir, ".state", "declared.json"), '{"version":1,"declared":[],"loaded":[],"cleanup":[]}');
  expect((await open()).folders).toEqual([]);
});

test("a declaration that cannot be written down says so, and is with the next one", async () => {
  const memory = await open();
  await rm(join(dir, ".state"), { recursive: true });
  expect(await memory.declare({ lora_name: "a", artifact_url: "/x", needs_api_key: false })).toMatchObject({ code: "ENOENT" });
  await mkdir(join(dir, ".state"));
  expect(await memory.declare({ lora_name: "b", artifact_url: "/y", needs_api_key: false })).toBeUndefined();
  expect((await open()).declared).toHaveLength(2);
});

test("a declaration that cannot be struck out says so as long as a restart would find it", async () => {
  const memory = await open();
  await memory.declare({ lora_name: "a", artifact_url: "/x", needs_api_key: false });
  await rm(join(dir, ".state"), { recursive: true });
  expect(await memory.declare({ lora_name: "b", artifact_url: "/y", needs_api_key: false })).toMatchObject({ code: "ENOENT" });
  expect(await memory.forgetDeclaration("a")).toMatchObject({ code: "ENOENT" });
  expect(await memory.forgetDeclaration("a")).toMatchObject({ code: "ENOENT" });
  expect(await memory.forgetDeclaration("b")).toBeUndefined();
  await mkdir(join(dir, ".state"));
  expect(await memory.forgetDeclaration("a")).toBeUndefined();
  expect((await open()).declared).toEqual([]);
});

test("a file that is there and cannot be read ends the start, and stays", async () => {
  await open();
  const file = join(dir, ".state", "declared.json");
  await mkdir(file);
  await expect(open()).rejects.toThrow(/declared\.json cannot be read, EISDIR.*move the file away/);
  expect(await readdir(join(dir, ".state"))).toEqual(["declared.json"]);
});

test("the order of use is kept over a restart, and loading again is no use", async () => {
  const memory = await open();
  for (const name of ["a", "b", "c"]) await memory.setLoaded(name, new Map([[`/${name}`, "sha256:1"]]), "boot-1");
  expect(memory.byLastUse()).toEqual(["c", "b", "a"]);
  memory.used(new Set(["a", "unknown"]));
  for (const name of ["a", "c", "b"]) await memory.setLoaded(name, new Map([[`/${name}`, "sha256:1"]]), "boot-2");
  await memory.flush();
  expect((await open()).byLastUse()).toEqual(["a", "c", "b"]);
});

test.each(["", "{", "null", '{"version": 2}', '{"version":1,"declared":{}}'])(
  "starts empty with a file that cannot be understood: %s",
  async (text) => {
    await open();
    await writeFile(join(dir, ".state", "declared.json"), text);
    const memory = await open();
    expect(memory.declared).toEqual([]);
    expect(await readFile(join(dir, ".state", "declared.json.bad"), "utf8")).toBe(text);
  },
);
