import { fileURLToPath } from "node:url";
import { buildGo } from "../parts/go-build.ts";
import type { PartContext } from "../parts/part-context.ts";

/** Programs that the module in `kubernetes/` can build. */
export type KubernetesProgram =
  | "etcd"
  | "kube-apiserver"
  | "kube-controller-manager"
  | "kube-scheduler"
  | "kubelet"
  | "kube-proxy"
  | "kubectl";

/** Beside `src` and `dist` alike. */
const MODULE_DIR = fileURLToPath(new URL("../../kubernetes/", import.meta.url));

/**
 * Builds programs into a folder with Go, in the versions that `go.mod` pins. kube-apiserver takes about ten minutes of two cores the
 * first time and 2.5 GB of memory; Go's own cache makes it seconds later.
 * @param remedy - another way to have the programs, as the last sentence of an error
 * @throws PartError naming what is missing.
 */
export async function buildKubernetes(
  version: string,
  programs: readonly KubernetesProgram[],
  dir: string,
  context: PartContext,
  remedy = "Or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl.",
): Promise<void> {
  const packages = Object.fromEntries(programs.map((p) => [p, packageOf(p)]));
  const module = { what: `Kubernetes ${version}`, dir: MODULE_DIR, programs: packages, ldflags: ldflags(version), remedy };
  await buildGo(module, dir, context);
}

function packageOf(program: KubernetesProgram): string {
  return program === "etcd" ? "go.etcd.io/etcd/server/v3" : `k8s.io/kubernetes/cmd/${program}`;
}

/** Without these a build calls itself v0.0.0 and decides by that which features are on. */
function ldflags(version: string): string {
  const [major = "", minor = ""] = version.replace(/^v/, "").split(".");
  const versionOf = (pkg: string) => [`-X ${pkg}.gitVersion=${version}`, `-X ${pkg}.gitMajor=${major}`, `-X ${pkg}.gitMinor=${minor}`];
  return [
    "-s -w",
    ...versionOf("k8s.io/component-base/version"),
    "-X k8s.io/component-base/version.gitTreeState=clean",
    "-X k8s.io/component-base/version.buildDate=2026-01-01T00:00:00Z",
    ...versionOf("k8s.io/client-go/pkg/version"),
  ].join(" ");
}
