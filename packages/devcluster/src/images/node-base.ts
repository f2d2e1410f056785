import { cp, mkdir, readdir, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { ensureCached } from "../parts/cache.ts";
import { findOnPath } from "../parts/find.ts";
import { type PartContext, PartError } from "../parts/part-context.ts";
import { withProgress } from "../parts/progress.ts";
import { run } from "../parts/run.ts";
import { deadline } from "../stack/time.ts";
import { assembleImage, packLayer } from "./oci/assemble.ts";
import { Layout } from "./oci/layout.ts";

/** What the Dockerfile builds on, unless it is told another. */
export const NODE_IMAGE = "docker.io/library/node:24-bookworm-slim";

const DOCKER_HUB = "https://registry-1.docker.io/v2/";
const PROBE_MS = 8_000;
const NPM_VERSION = "12.2.1";
const REF = "node";

/** Whether images of docker.io can be had on this machine. */
export async function reachesDockerHub(signal: AbortSignal): Promise<boolean> {
  try {
    // It asks for a login: that is an answer.
    return [200, 401].includes((await fetch(DOCKER_HUB, { signal: deadline(PROBE_MS, signal) })).status);
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

/**
 * A stand-in for {@link NODE_IMAGE} for machines that cannot reach docker.io: Debian's essential packages, this process's Node, and npm.
 * @returns where it is: `DIR:NAME` of an OCI layout
 * @throws PartError naming what is missing.
 */
export async function standInNodeImage(context: PartContext): Promise<string> {
  const version = process.versions.node;
  const dir = await ensureCached({ name: "image-node-base", version, recipe: 2 }, context, (target) => make(target, context));
  return `${join(dir, "image")}:${REF}`;
}

async function make(dir: string, context: PartContext): Promise<void> {
  const { signal } = context;
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new PartError(
      `docker.io cannot be reached, and a stand-in for ${NODE_IMAGE} can be made on Linux as root only. Name an image that can be had: --node-image IMAGE`,
    );
  }
  if ((await findOnPath("mmdebstrap")) === undefined) await install(context);
  await withProgress(`making a stand-in for ${NODE_IMAGE}`, context, async () => {
    const rootfs = join(dir, "rootfs");
    const archive = join(dir, "rootfs.tar");
    const unneeded = ["doc", "man", "locale", "info", "lintian"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
    const sources = await aptSources();
    await run(
      { argv: ["mmdebstrap", "--quiet", "--variant=essential", "--include=libstdc++6", ...unneeded, "bookworm", archive, ...sources] },
      signal,
    );
    await mkdir(rootfs);
    // Device files are the container runtime's business.
    await run({ argv: ["tar", "-xf", archive, "-C", rootfs, "--exclude=./dev/*"] }, signal);
    await rm(archive);
    const local = join(rootfs, "usr", "local");
    await cp(process.execPath, join(local, "bin", "node"));
    const npm = join(dir, "npm");
    const flags = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"];
    await run({ argv: ["npm", "install", ...flags, "--prefix", npm, `npm@${NPM_VERSION}`] }, signal);
    await mkdir(join(local, "lib", "node_modules"), { recursive: true });
    await rename(join(npm, "node_modules", "npm"), join(local, "lib", "node_modules", "npm"));
    await symlink("../lib/node_modules/npm/bin/npm-cli.js", join(local, "bin", "npm"));
    const layout = await Layout.open(join(dir, "image"));
    const layer = await packLayer(layout, { from: rootfs, to: "/" }, signal);
    await assembleImage(layout, REF, [layer], {
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      Cmd: ["node"],
    });
    await rm(npm, { recursive: true });
    await rm(rootfs, { recursive: true });
  });
}

async function install(context: PartContext): Promise<void> {
  if ((await findOnPath("apt-get")) === undefined) {
    throw new PartError(`docker.io cannot be reached, and the stand-in for ${NODE_IMAGE} is made with mmdebstrap: install it`);
  }
  await withProgress("installing mmdebstrap", context, async () => {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run({ argv: ["apt-get", "update", "--quiet"], env }, context.signal);
    await run({ argv: ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "mmdebstrap"], env }, context.signal);
  });
}

/** This machine's own sources where it is a bookworm itself; they know which mirror can be reached. mmdebstrap's default elsewhere. */
async function aptSources(): Promise<readonly string[]> {
  const folder = "/etc/apt/sources.list.d";
  const names = await readdir(folder).catch((): string[] => []);
  return names.includes("debian.sources") ? [join(folder, "debian.sources")] : [];
}
