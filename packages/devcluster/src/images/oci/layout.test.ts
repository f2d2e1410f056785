import { chmod, link, mkdir, mkdtemp, readdir, rm, symlink, unlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "../../parts/run.ts";
import { assembleImage, packLayer } from "./assemble.ts";
import { Layout } from "./layout.ts";

const signal = AbortSignal.timeout(60_000);
let dir: string;
let layout: Layout;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "layout-"));
  layout = await Layout.open(join(dir, "layout"));
});
afterEach(() => rm(dir, { recursive: true }));

/** A folder with a program, a hard link to it, and a symbolic link to a path that must stay as it is. */
async function tree(name: string, text = "echo"): Promise<string> {
  const root = join(dir, name);
  await mkdir(join(root, "bin"), { recursive: true });
  await writeFile(join(root, "bin/a"), text);
  await chmod(join(root, "bin/a"), 0o755);
  await link(join(root, "bin/a"), join(root, "bin/b"));
  await symlink("./bin/a", join(root, "c"));
  for (const path of ["bin/a", "bin", ""]) await utimes(join(root, path), 1, 1);
  await run({ argv: ["touch", "-h", "-d", "@1", join(root, "c")] }, signal);
  return root;
}

test("the same files give the same layer, and all of them are root's", async () => {
  const one = await packLayer(layout, { from: await tree("one"), to: "/opt/x" }, signal);
  const two = await packLayer(layout, { from: await tree("two"), to: "/opt/x" }, signal);
  expect(two).toEqual(one);
  const listed = await run({ argv: ["tar", "-tvf", layout.blobPath(one.digest), "--numeric-owner"] }, signal);
  const rows = listed
    .trim()
    .split("\n")
    .map((line) => line.split(/\s+/));
  expect(rows.map(([mode, owner]) => [mode?.at(0), owner])).toEqual([
    ["d", "0/0"],
    ["d", "0/0"],
    ["-", "0/0"],
    ["h", "0/0"],
    ["l", "0/0"],
  ]);
  expect(rows.map((row) => row.slice(5).join(" "))).toEqual([
    "opt/x/",
    "opt/x/bin/",
    "opt/x/bin/a",
    "opt/x/bin/b link to opt/x/bin/a",
    "opt/x/c -> ./bin/a",
  ]);
});

test("a folder that is not there is an error, and leaves no blob", async () => {
  await expect(packLayer(layout, { from: join(dir, "nothing"), to: "/" }, signal)).rejects.toThrow("nothing");
  expect((await readdir(join(layout.dir, "blobs"))).filter((name) => name.startsWith("draft"))).toEqual([]);
});

test("an image is found by its name while all its blobs are there", async () => {
  const layer = await packLayer(layout, { from: await tree("one"), to: "/" }, signal);
  const image = await assembleImage(layout, "app-1", [layer], { User: "65532" });
  expect(await layout.find("app-1")).toEqual(image);
  expect(await layout.find("app-2")).toBeUndefined();
  await unlink(layout.blobPath(layer.digest));
  expect(await layout.find("app-1")).toBeUndefined();
});

test("sweeping keeps what is still named, also what two images share", async () => {
  const shared = await packLayer(layout, { from: await tree("shared"), to: "/" }, signal);
  const old = await packLayer(layout, { from: await tree("old", "old"), to: "/" }, signal);
  await assembleImage(layout, "app-1", [shared, old], {});
  const kept = await assembleImage(layout, "app-2", [shared], {});
  await layout.sweep((ref) => ref === "app-2");
  expect([await layout.find("app-1"), await layout.find("app-2")]).toEqual([undefined, kept]);
  expect(await readdir(join(layout.dir, "blobs/sha256"))).toHaveLength(3);
});
