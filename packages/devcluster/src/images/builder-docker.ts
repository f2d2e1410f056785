import { mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type PartContext, PartError } from "../parts/part-context.ts";
import { run } from "../parts/run.ts";
import { type Build, type Builder, buildFlags, withSecrets } from "./builder.ts";
import { adoptImage } from "./oci/adopt.ts";
import { Layout } from "./oci/layout.ts";
import { chooseImage, machineArchitecture } from "./oci/platform.ts";
import type { Descriptor, IndexEntry } from "./oci/types.ts";

/** Docker with BuildKit; its engine keeps the layers. */
export function docker(bin: string): Builder {
  return {
    name: "docker",
    async build(build: Build, layout: Layout, ref: string, { signal }: PartContext): Promise<void> {
      const tag = `aibrix-build:${build.target}`;
      await withSecrets(build.npm, (secrets) =>
        run(
          {
            argv: [bin, "build", ...buildFlags(build), ...secrets, `--tag=${tag}`, build.root],
            env: { DOCKER_BUILDKIT: "1" },
            tailLines: 60,
          },
          signal,
        ),
      );
      await save(bin, tag, layout, ref, signal);
    },
    async publish(image: string, destination: string, { signal }: PartContext): Promise<void> {
      const [dir = "", ref = ""] = image.split(/:(?=[^:]*$)/);
      const work = await mkdtemp(join(dir, "docker-"));
      try {
        const layout = await Layout.open(dir);
        const found = await layout.find(ref);
        if (found === undefined) throw new PartError(`${image} is gone: build it again`);
        const annotations = { "io.containerd.image.name": destination };
        await layout.share([{ image: found, annotations }], await Layout.open(join(work, "layout")));
        await run({ argv: ["tar", "-cf", join(work, "image.tar"), "-C", join(work, "layout"), "."] }, signal);
        await run({ argv: [bin, "load", `--input=${join(work, "image.tar")}`] }, signal);
        await run({ argv: [bin, "push", "--quiet", destination] }, signal);
      } finally {
        await rm(work, { recursive: true, force: true });
      }
    },
    async pull(image: string, layout: Layout, ref: string, { signal }: PartContext): Promise<void> {
      await run({ argv: [bin, "pull", "--quiet", image] }, signal);
      await save(bin, image, layout, ref, signal);
    },
  };
}

async function save(bin: string, tag: string, layout: Layout, ref: string, signal: AbortSignal): Promise<void> {
  const dir = await mkdtemp(join(layout.dir, "docker-"));
  try {
    const archive = join(dir, "image.tar");
    await run({ argv: [bin, "save", `--output=${archive}`, tag] }, signal);
    await run({ argv: ["tar", "-xf", archive, "-C", dir] }, signal);
    await adopt(dir, layout, ref);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Takes an image over from what `docker save` wrote. */
async function adopt(dir: string, layout: Layout, ref: string): Promise<void> {
  const blob = (digest: string) => join(dir, "blobs", ...digest.split(":"));
  const read = async (file: string) => JSON.parse(await readFile(file, "utf8"));
  const index = await read(join(dir, "index.json")).catch(() => {
    throw new PartError("docker save wrote no OCI layout: this takes Docker 25 or newer");
  });
  let image: Descriptor = index.manifests[0];
  // Of what was built one platform is there, of what was pulled perhaps all are listed and one is there; and attestations.
  while (/index|manifest\.list/.test(image.mediaType)) {
    const { manifests } = (await read(blob(image.digest))) as { manifests: readonly IndexEntry[] };
    image = chooseImage(manifests, machineArchitecture());
  }
  await adoptImage(await read(blob(image.digest)), (hex) => blob(`sha256:${hex}`), layout, ref);
}
