import { chmod, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { download, reasonOf } from "../parts/download.ts";
import type { PartContext } from "../parts/part-context.ts";
import { withProgress } from "../parts/progress.ts";

/** Where Kubernetes publishes its programs, each with a file of its SHA-512 sum beside it. */
export const OFFICIAL_PROGRAMS = "https://dl.k8s.io/release";
/** A machine that cannot reach it should know soon. */
const SUM_TIMEOUT_MS = 8_000;

/**
 * Fetches single programs of a release for this machine's Linux into `dir`.
 * Returns false where one cannot be had; then there is another way, so the reason is only told as a line of progress.
 */
export async function fetchOfficial(
  base: string,
  version: string,
  programs: readonly string[],
  dir: string,
  context: PartContext,
): Promise<boolean> {
  const arch = process.arch === "x64" ? "amd64" : process.arch;
  try {
    for (const program of programs) {
      const url = `${base}/${version}/bin/linux/${arch}/${program}`;
      const sha512 = await readSum(`${url}.sha512`, context.signal);
      const draft = join(dir, `.${program}`);
      try {
        await withProgress(`fetching ${program} ${version}`, context, () => download({ url, sha512 }, draft, context.signal));
        await chmod(draft, 0o755);
        await rename(draft, join(dir, program));
      } finally {
        await rm(draft, { force: true });
      }
    }
    return true;
  } catch (error) {
    context.signal.throwIfAborted();
    context.log(`no official programs of Kubernetes: ${reasonOf(error)}`);
    return false;
  }
}

async function readSum(url: string, signal: AbortSignal): Promise<string> {
  const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(SUM_TIMEOUT_MS)]) });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  const sum = /^[0-9a-f]{128}/.exec((await answer.text()).trim())?.[0];
  if (sum === undefined) throw new Error(`${url} holds no SHA-512 sum`);
  return sum;
}
