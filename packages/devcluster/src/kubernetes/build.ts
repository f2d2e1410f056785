import { rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type PartContext, PartError } from "../parts/part-context.ts";
import { withProgress } from "../parts/progress.ts";
import { ask, run } from "../parts/run.ts";

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
/** The first build compiles some 2,000 packages; slow machines take their time. */
const BUILD_TIMEOUT_MS = 90 * 60_000;

/**
 * Builds programs into a folder with Go, in the versions that `go.mod` pins. kube-apiserver takes about ten minutes of two cores the
 * first time and 2.5 GB of memory; Go's own cache makes it seconds later.
 * @throws PartError naming what is missing.
 */
export async function buildKubernetes(
  version: string,
  programs: readonly KubernetesProgram[],
  dir: string,
  context: PartContext,
): Promise<void> {
  if ((await ask(["go", "version"], context.signal)) === undefined) {
    throw new PartError(
      `Kubernetes ${version} is built with Go, and there is no go on PATH. Install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl.`,
    );
  }
  for (const program of programs) {
    const draft = join(dir, `.${program}`);
    const pkg = program === "etcd" ? "go.etcd.io/etcd/server/v3" : `k8s.io/kubernetes/cmd/${program}`;
    const argv = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags(version), "-o", draft, pkg] as const;
    try {
      await withProgress(`building ${program} for Kubernetes ${version}`, context, () =>
        run({ argv, cwd: MODULE_DIR, env: { CGO_ENABLED: "0", GOFLAGS: "-mod=readonly" }, timeoutMs: BUILD_TIMEOUT_MS }, context.signal),
      );
    } catch (error) {
      if (!(error instanceof PartError)) throw error;
      throw new PartError(
        `cannot build ${program}: ${error.message}\nCheck that Go can reach its module proxy and that 15 GB of disk are free, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl.`,
      );
    }
    await rename(draft, join(dir, program));
  }
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
