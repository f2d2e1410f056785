import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { ensureCached } from "../parts/cache.ts";
import { findOnPath } from "../parts/find.ts";
import { type PartContext, PartError } from "../parts/part-context.ts";
import { ask } from "../parts/run.ts";
import { buildKubernetes } from "./build.ts";
import { ENVTEST_INDEX, fetchEnvtest } from "./envtest.ts";

/** What is fetched or built. Another release of Kubernetes found on this machine is taken if it is not older than {@link OLDEST_MINOR}. */
export const KUBERNETES_VERSION = "v1.37.2";
/** The oldest 1.x that the manifests of this project are written for. */
const OLDEST_MINOR = 33;

/** Programs of a control plane. */
export interface KubernetesBinaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubectl: string;
}

/**
 * A real control plane's programs: from the folder `KUBEBUILDER_ASSETS`, from PATH, from the cache, fetched as an official archive, or
 * built with Go (about ten minutes on two cores, once).
 * @throws PartError naming what is missing.
 */
export async function ensureKubernetes(context: PartContext): Promise<KubernetesBinaries> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets !== undefined && assets !== "") return fromAssets(assets);
  const found = await fromPath(context.signal);
  if (found !== undefined) return found;
  return pinnedKubernetes(context);
}

/**
 * The same programs in the pinned version, whatever the environment and PATH offer: a node's other programs must fit.
 * @throws PartError naming what is missing.
 */
export async function pinnedKubernetes(context: PartContext): Promise<KubernetesBinaries> {
  const dir = await ensureCached({ name: "kubernetes", version: KUBERNETES_VERSION, recipe: 1 }, context, async (target) => {
    if (await fetchEnvtest(ENVTEST_INDEX, KUBERNETES_VERSION, target, context)) return;
    await buildKubernetes(KUBERNETES_VERSION, ["etcd", "kubectl", "kube-apiserver"], target, context);
  });
  return inFolder(dir);
}

function inFolder(dir: string): KubernetesBinaries {
  return { etcd: join(dir, "etcd"), kubeApiserver: join(dir, "kube-apiserver"), kubectl: join(dir, "kubectl") };
}

async function fromAssets(dir: string): Promise<KubernetesBinaries> {
  const binaries = inFolder(dir);
  for (const path of Object.values(binaries)) {
    await access(path, constants.X_OK).catch(() => {
      throw new PartError(`KUBEBUILDER_ASSETS names ${dir}, but ${path} is no program that can be run: correct it or unset it`);
    });
  }
  return binaries;
}

async function fromPath(signal: AbortSignal): Promise<KubernetesBinaries | undefined> {
  const [etcd, kubeApiserver, kubectl] = await Promise.all(["etcd", "kube-apiserver", "kubectl"].map(findOnPath));
  if (etcd === undefined || kubeApiserver === undefined || kubectl === undefined) return undefined;
  return isRecent((await ask([kubeApiserver, "--version"], signal)) ?? "") ? { etcd, kubeApiserver, kubectl } : undefined;
}

/** Whether the output of `kube-apiserver --version` (`Kubernetes v1.37.2`) is of a release that the tests are written for. */
export function isRecent(output: string): boolean {
  const match = /\bv1\.(\d+)\./.exec(output);
  return match !== null && Number(match[1]) >= OLDEST_MINOR;
}
