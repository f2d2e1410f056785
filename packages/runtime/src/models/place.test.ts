import { mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MODEL_MANIFEST } from "./manifest.ts";
import { type ModelSource, parseModelUri } from "./model-uri.ts";
import { checkFree, folderBelow, modelAbove, openModelsFolder, putInPlace } from "./place.ts";

let dir: string;
let root: string;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), "place-")));
  root = join(dir, "models");
  await mkdir(root);
});
afterEach(() => rm(dir, { recursive: true }));

const of = (uri: string): ModelSource => parseModelUri(uri).source;

async function model(path: string, uri: string, text = "x"): Promise<void> {
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "config.json"), text);
  const manifest = {
    version: 1,
    model_uri: uri,
    source_fingerprint: "f",
    allow_file_suffix: [],
    content_digest: "d",
    completed_at: "t",
    files: [],
  };
  await writeFile(join(path, MODEL_MANIFEST), JSON.stringify(manifest));
}

describe("a folder that a call means", () => {
  test.each([
    { given: undefined, is: "" },
    { given: "", is: "" },
    { given: "/team/a", is: "/team/a" },
    { given: "/team/", is: "/team" },
    { given: "/team/../other", is: "/other" },
  ])("models$given", async ({ given, is }) => {
    expect(await folderBelow(root, given === undefined ? undefined : root + given)).toBe(root + is);
  });

  test.each(["/..", "/../models-2", "/a/../../x", "/.cache", "/a/.hidden", "-2", "/a\0b"])("not models%j", async (given) => {
    expect(await folderBelow(root, root + given)).toBeUndefined();
  });

  test.each(["models", "../x", "/", "/etc", ""])("not %j", async (given) => {
    expect(await folderBelow(root, given)).toBeUndefined();
  });

  test("not by a link that leads out, also for what is not there yet", async () => {
    await mkdir(join(dir, "outside"));
    await symlink(join(dir, "outside"), join(root, "out"));
    await mkdir(join(root, "in"));
    await symlink(join(root, "in"), join(root, "alias"));
    expect(await folderBelow(root, join(root, "out"))).toBeUndefined();
    expect(await folderBelow(root, join(root, "out/deep/er"))).toBeUndefined();
    expect(await folderBelow(root, join(root, "alias/deep"))).toBe(join(root, "alias/deep"));
  });

  test("the folder of all models may be a link itself, or be missing", async () => {
    await symlink(root, join(dir, "link"));
    expect(await folderBelow(join(dir, "link"), join(dir, "link/a"))).toBe(join(dir, "link/a"));
    expect(await folderBelow(join(dir, "none"), join(dir, "none/a"))).toBe(join(dir, "none/a"));
  });
});

test("a model's own folder is found from inside", async () => {
  await model(join(root, "qwen"), "acme/qwen");
  expect(await modelAbove(root, join(root, "qwen/deep/er"))).toBe(join(root, "qwen"));
  expect(await modelAbove(root, join(root, "other"))).toBeUndefined();
  expect(await modelAbove("/", join(root, "qwen"))).toBe(join(root, "qwen"));
});

describe("whether a folder is free", () => {
  test("nothing, an empty folder, and the same model are", async () => {
    expect(await checkFree(join(root, "a"), of("acme/a"))).toBeUndefined();
    await mkdir(join(root, "a"));
    expect(await checkFree(join(root, "a"), of("acme/a"))).toBeUndefined();
    await model(join(root, "a"), "acme/a@v1");
    expect(await checkFree(join(root, "a"), of("acme/a@v2"))).toMatchObject({ model_uri: "acme/a@v1" });
  });

  test("another model, other files, and a file are not", async () => {
    await model(join(root, "a"), "other/a");
    await mkdir(join(root, "b"));
    await writeFile(join(root, "b/x"), "");
    await writeFile(join(root, "c"), "");
    for (const name of ["a", "b", "c"])
      await expect(checkFree(join(root, name), of(`acme/${name}`))).rejects.toMatchObject({ reason: "FolderTaken" });
  });
});

describe("putting a model in place", () => {
  test("where nothing is, and where an older revision is", async () => {
    const layout = await openModelsFolder(root, "pod");
    for (const text of ["one", "two"]) {
      const files = join(layout.work, text);
      await model(files, "acme/a", text);
      await putInPlace(layout, files, join(root, "a"), of("acme/a"));
      expect(await readFile(join(root, "a/config.json"), "utf8")).toBe(text);
    }
    expect(await readdir(layout.trash)).toEqual([]);
  });

  test("never over something else", async () => {
    const layout = await openModelsFolder(root, "pod");
    const files = join(layout.work, "new");
    await model(files, "acme/a");
    await mkdir(join(root, "a"));
    await writeFile(join(root, "a/notes"), "mine");
    await expect(putInPlace(layout, files, join(root, "a"), of("acme/a"))).rejects.toMatchObject({ reason: "FolderTaken" });
    await writeFile(join(root, "b"), "mine");
    await expect(putInPlace(layout, files, join(root, "b"), of("acme/a"))).rejects.toMatchObject({ reason: "FolderTaken" });
    expect(await readFile(join(root, "a/notes"), "utf8")).toBe("mine");
    expect(await readFile(join(root, "b"), "utf8")).toBe("mine");
  });
});
