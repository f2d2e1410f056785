import { rm } from "node:fs/promises";
import { join } from "node:path";
import { download, reasonOf } from "../parts/download.ts";
import type { PartContext } from "../parts/part-context.ts";
import { withProgress } from "../parts/progress.ts";
import { run } from "../parts/run.ts";

/** Kubernetes' own list of archives with etcd, kube-apiserver and kubectl, and their SHA-512 sums. */
export const ENVTEST_INDEX = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml";
/** A machine that cannot reach the list should know soon. */
const INDEX_TIMEOUT_MS = 8_000;

/** One archive of the list. */
export interface EnvtestArchive {
  readonly version: string;
  readonly url: string;
  readonly sha512: string;
}

/**
 * Fetches the archive for this machine into `dir`: the newest of the same minor release.
 * Returns false where it cannot be had; then there is another way, so the reason is only told as a line of progress.
 */
export async function fetchEnvtest(indexUrl: string, version: string, dir: string, context: PartContext): Promise<boolean> {
  const file = join(dir, "envtest.tar.gz");
  try {
    const index = await fetch(indexUrl, { signal: AbortSignal.any([context.signal, AbortSignal.timeout(INDEX_TIMEOUT_MS)]) });
    if (!index.ok) throw new Error(`${indexUrl} answered ${index.status}`);
    const archive = chooseArchive(
      (await yaml()).parse(await index.text(), { schema: "failsafe" }),
      version,
      process.platform,
      process.arch,
    );
    if (archive === undefined) throw new Error(`the list has no archive of ${version} for ${process.platform} ${process.arch}`);
    await withProgress(`fetching etcd, kube-apiserver and kubectl ${archive.version}`, context, async () => {
      await download(archive, file, context.signal);
      await run({ argv: ["tar", "-xzf", file, "-C", dir, "--strip-components=2"] }, context.signal);
    });
    return true;
  } catch (error) {
    context.signal.throwIfAborted();
    context.log(`Kubernetes' own archives cannot be had here (${reasonOf(error)}): it is built from source instead`);
    return false;
  } finally {
    await rm(file, { force: true });
  }
}

/** The newest archive of the same minor release (`v1.37.x`) for a platform, out of the parsed list. */
export function chooseArchive(index: unknown, version: string, platform: string, arch: string): EnvtestArchive | undefined {
  const { releases = {} } = (index ?? {}) as { releases?: Record<string, Record<string, { hash?: string; selfLink?: string }>> };
  const minor = version.split(".").slice(0, 2).join(".");
  const goArch = arch === "x64" ? "amd64" : arch;
  const patchOf = (v: string) => Number(v.split(".")[2]);
  return Object.entries(releases)
    .filter(([v]) => v.startsWith(`${minor}.`) && Number.isInteger(patchOf(v)))
    .sort(([a], [b]) => patchOf(b) - patchOf(a))
    .flatMap(([v, files]) => {
      const file = files[`envtest-${v}-${platform}-${goArch}.tar.gz`];
      return file?.hash && file.selfLink ? [{ version: v, url: file.selfLink, sha512: file.hash }] : [];
    })[0];
}

/** The bootstrap imports this file before any library is installed, and calls it after. */
async function yaml(): Promise<{ parse(text: string, options: { readonly schema: "failsafe" }): unknown }> {
  const name = "yaml";
  return await import(name);
}
