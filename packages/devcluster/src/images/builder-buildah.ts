import { mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import type { PartContext } from "../parts/part-context.ts";
import { run } from "../parts/run.ts";
import { type Build, type Builder, buildFlags, withSecrets } from "./builder.ts";
import { adoptImage } from "./oci/adopt.ts";
import type { Layout } from "./oci/layout.ts";

/**
 * buildah or podman: they share their store's form and their flags. The store is a folder of ours, never the user's own.
 * @param dir - where the store is; @param runDir - for what must not outlive a reboot.
 */
export function buildahLike(name: "buildah" | "podman", bin: string, dir: string, runDir: string): Builder {
  const root = process.getuid?.() === 0;
  const uncompressed = name === "buildah" ? ["--disable-compression"] : [];
  const tool = [bin, "--root", join(dir, "store"), "--runroot", runDir] as const;
  // Its caches and drafts belong beside the store, not into /var/tmp.
  const env = { TMPDIR: join(dir, "tmp") };
  const save = async (tag: string, layout: Layout, ref: string, signal: AbortSignal): Promise<void> => {
    // By way of a plain folder: into a layout it would compress the layers, which costs more than it saves on one machine.
    const folder = await mkdtemp(join(env.TMPDIR, "image-"));
    try {
      await run({ argv: [...tool, "push", "--quiet", "--format=oci", ...uncompressed, tag, `dir:${folder}`], env }, signal);
      await adoptImage(JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")), (hex) => join(folder, hex), layout, ref);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
  const importBase = async (image: string, { signal }: PartContext): Promise<string> => {
    // The store names what it gets by its path, and refuses paths that are no name (a folder such as `.cache`): this one is.
    const [target = "", ref = ""] = image.split(/:(?=[^:]*$)/);
    const link = `${runDir}-base`;
    await mkdir(env.TMPDIR, { recursive: true });
    await rm(link, { force: true });
    await symlink(target, link);
    try {
      return (await run({ argv: [...tool, "pull", "--quiet", `oci:${link}:${ref}`], env }, signal)).trim();
    } finally {
      await rm(link, { force: true });
    }
  };
  return {
    name,
    importBase,
    async publish(image: string, destination: string, context: PartContext): Promise<void> {
      const id = await importBase(image, context);
      await run({ argv: [...tool, "push", "--quiet", id, `docker://${destination}`], env }, context.signal);
    },
    async build(build: Build, layout: Layout, ref: string, { signal }: PartContext): Promise<void> {
      await mkdir(env.TMPDIR, { recursive: true });
      // What a build that was ended left; nobody else uses this store.
      if (name === "buildah") await run({ argv: [...tool, "rm", "--all"], env }, signal);
      const tag = `localhost/aibrix-build:${build.target}`;
      await withSecrets(build.npm, (secrets) => {
        const flags = [
          "--layers",
          "--format=oci",
          // The registry of packages may listen on this machine's loopback address.
          "--network=host",
          // As root there is no need for a runtime that isolates the steps from a machine whose packages they fetch anyway.
          ...(root ? ["--isolation=chroot"] : []),
          ...buildFlags(build),
          ...secrets,
          `--tag=${tag}`,
          build.root,
        ];
        return run({ argv: [...tool, name === "buildah" ? "bud" : "build", ...flags], env, tailLines: 60 }, signal);
      });
      await save(tag, layout, ref, signal);
    },
    async pull(image: string, layout: Layout, ref: string, { signal }: PartContext): Promise<void> {
      await mkdir(env.TMPDIR, { recursive: true });
      await run({ argv: [...tool, "pull", "--quiet", image], env }, signal);
      await save(image, layout, ref, signal);
    },
  };
}
