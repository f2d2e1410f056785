import { chmod, mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "../parts/run.ts";
import { docker } from "./builder-docker.ts";
import { assembleImage } from "./oci/assemble.ts";
import { Layout } from "./oci/layout.ts";
import { machineArchitecture } from "./oci/platform.ts";

const signal = AbortSignal.timeout(60_000);
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "docker-"));
});
afterEach(() => rm(dir, { recursive: true }));

/** A program that answers `docker save` with the layout; no engine is needed to read what one wrote. */
async function saves(layout: Layout): Promise<string> {
  const [archive, program] = [join(dir, "saved.tar"), join(dir, "docker")];
  await run({ argv: ["tar", "-cf", archive, "-C", layout.dir, "."] }, signal);
  await writeFile(program, `#!/bin/sh\nif [ "$1" = save ]; then cp '${archive}' "\${2#--output=}"; fi\n`);
  await chmod(program, 0o755);
  return program;
}

test("of an image of many processors this machine's is taken, and the others need not be there", async () => {
  const saved = await Layout.open(join(dir, "saved"));
  const [other, mine] = [await assembleImage(saved, "other", [], { User: "1" }), await assembleImage(saved, "mine", [], { User: "2" })];
  await unlink(saved.blobPath(other.digest));
  const manifests = [
    { ...other, platform: { os: "linux", architecture: "another" } },
    { ...mine, platform: { os: "linux", architecture: machineArchitecture() } },
  ];
  const index = await saved.writeJson("application/vnd.oci.image.index.v1+json", { schemaVersion: 2, manifests });
  await rm(join(saved.dir, "index.json"));
  await saved.name("example/server:v1", index);

  const layout = await Layout.open(join(dir, "layout"));
  await docker(await saves(saved)).pull("example/server:v1", layout, "server-1", { log: () => undefined, signal });
  expect((await layout.find("server-1"))?.digest).toBe(mine.digest);
});
