import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Layout } from "../../images/oci/layout.ts";
import type { Descriptor } from "../../images/oci/types.ts";
import { run } from "../../parts/run.ts";
import { writeImageArchive } from "./image-archive.ts";

const signal = AbortSignal.timeout(60_000);

test("the archive has one image of that name, which runs the program; the same program gives the same image", async () => {
  const dir = await mkdtemp(join(tmpdir(), "archive-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const digests: string[] = [];
  for (const build of ["one", "two"]) {
    const [program, file, unpacked] = [join(dir, build, "pause"), join(dir, build, "pause.tar"), join(dir, build, "unpacked")];
    await mkdir(unpacked, { recursive: true });
    await writeFile(program, "program");
    await chmod(program, 0o755);
    await writeImageArchive({ name: "node.test/pause:v1", program }, file, signal);
    await run({ argv: ["tar", "-xf", file, "-C", unpacked] }, signal);

    const index = JSON.parse(await readFile(join(unpacked, "index.json"), "utf8")) as { manifests: readonly Descriptor[] };
    expect(index.manifests.map(({ annotations }) => annotations)).toEqual([{ "io.containerd.image.name": "node.test/pause:v1" }]);
    const layout = await Layout.open(unpacked);
    const [image] = index.manifests as [Descriptor];
    const { config, layers } = await layout.manifest(image);
    expect(JSON.parse(await readFile(layout.blobPath(config.digest), "utf8")).config.Entrypoint).toEqual(["/pause"]);
    const listed = await run({ argv: ["tar", "-tvf", layout.blobPath(layers[0]?.digest ?? ""), "--numeric-owner"] }, signal);
    expect(listed).toMatch(/^-rwxr-xr-x 0\/0 +7 .* \.\/pause\n$/);
    digests.push(image.digest);
  }
  expect(digests[1]).toBe(digests[0]);
});
