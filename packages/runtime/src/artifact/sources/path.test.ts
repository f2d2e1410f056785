import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { listFolder } from "./path.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "aibrix-path-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test("links to nothing, and to themselves, are no files", async () => {
  await writeFile(join(dir, "adapter_config.json"), "{}");
  await symlink("adapter_config.json", join(dir, "link"));
  await symlink("/does/not/exist", join(dir, "nothing"));
  await symlink("loop", join(dir, "loop"));
  expect((await listFolder(dir)).map((f) => f.name).sort()).toEqual(["adapter_config.json", "link"]);
});

test("a folder that is such a link itself is told", async () => {
  await symlink("/does/not/exist", join(dir, "adapter"));
  await expect(listFolder(join(dir, "adapter"))).rejects.toMatchObject({ reason: "ArtifactNotFound" });
});
