import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findOnPath } from "../parts/find.ts";
import { type PartContext, PartError } from "../parts/part-context.ts";
import { withProgress } from "../parts/progress.ts";
import { ask, run } from "../parts/run.ts";
import type { Builder } from "./builder.ts";
import { buildahLike } from "./builder-buildah.ts";
import { docker } from "./builder-docker.ts";

/**
 * A program that can build images here: docker where its engine answers, else buildah, else podman; on Debian as root buildah is
 * installed where there is none.
 * @param dir - for the store of buildah or podman
 * @throws PartError naming what to install.
 */
export async function findBuilder(dir: string, context: PartContext): Promise<Builder> {
  const found = await builderOnPath(dir, context.signal);
  if (found !== undefined) return found;
  if (!(await isDebianRoot())) {
    throw new PartError(
      "images are built with docker, podman or buildah, and none of them works here. Install one (Debian: apt install buildah), or start Docker's engine.",
    );
  }
  await withProgress("installing buildah", context, async () => {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run({ argv: ["apt-get", "update", "--quiet"], env }, context.signal);
    await run({ argv: ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "buildah"], env }, context.signal);
  });
  const installed = await builderOnPath(dir, context.signal);
  if (installed === undefined) throw new PartError("buildah was installed, and still cannot be run: try `buildah info`");
  return installed;
}

async function builderOnPath(dir: string, signal: AbortSignal): Promise<Builder | undefined> {
  const dockerBin = await findOnPath("docker");
  // A client without an engine builds nothing.
  if (dockerBin !== undefined && (await ask([dockerBin, "version", "--format={{.Server.Version}}"], signal, 10_000)) !== undefined) {
    return docker(dockerBin);
  }
  // Elsewhere podman talks to a virtual machine, whose store is not a folder of ours.
  if (process.platform !== "linux") return undefined;
  for (const name of ["buildah", "podman"] as const) {
    const bin = await findOnPath(name);
    if (bin !== undefined && (await ask([bin, "--version"], signal, 10_000)) !== undefined) return buildahLike(name, bin, dir, runDir(dir));
  }
  return undefined;
}

/** Its counters of mounts must not outlive a reboot, so it lies where the system puts such things. */
function runDir(dir: string): string {
  const parent = process.getuid?.() === 0 ? "/run" : process.env.XDG_RUNTIME_DIR || tmpdir();
  return join(parent, `aibrix-images-${createHash("sha256").update(dir).digest("hex").slice(0, 12)}`);
}

async function isDebianRoot(): Promise<boolean> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release) && (await findOnPath("apt-get")) !== undefined;
}
