import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureCached } from "../../parts/cache.ts";
import { ensureSystemPrograms, type SystemProgram, unpackDebian } from "../../parts/debian.ts";
import { findByEnv, findOnPath } from "../../parts/find.ts";
import { buildGo } from "../../parts/go-build.ts";
import { type PartContext, PartError } from "../../parts/part-context.ts";
import { KUBERNETES_VERSION, pinnedKubernetes } from "../binaries.ts";
import { buildKubernetes, type KubernetesProgram } from "../build.ts";
import { fetchOfficial, OFFICIAL_PROGRAMS } from "../official.ts";
import { writeImageArchive } from "./image-archive.ts";
import type { NodePrograms } from "./plan-node.ts";

const CONTAINERD_VERSION = "v2.4.2";
const COREDNS_VERSION = "v1.15.0";
const KUBE_ROUTER_VERSION = "v2.1.0";
/** Counts up with `pause/main.go`. */
const PAUSE_VERSION = "v1";

/** Images that the node is given as files: nothing can be fetched before it runs. */
export const PAUSE_IMAGE: string = `node.aibrix.local/pause:${PAUSE_VERSION}`;
export const COREDNS_IMAGE: string = `node.aibrix.local/coredns:${COREDNS_VERSION}`;

const OTHER_CLUSTER = "Or use another cluster: npm start -- --help lists --cluster and --kubeconfig.";

const CNI_FOLDERS = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
const cni = (name: string): SystemProgram => ({ name, package: "containernetworking-plugins", folders: CNI_FOLDERS });
const SYSTEM_PROGRAMS: readonly SystemProgram[] = [
  { name: "ip", package: "iproute2" },
  { name: "ipset", package: "ipset" },
  { name: "iptables", package: "iptables" },
  { name: "mount", package: "mount" },
  { name: "nft", package: "nftables" },
  { name: "nsenter", package: "util-linux" },
  { name: "openssl", package: "openssl" },
  { name: "runc", package: "runc" },
  { name: "unshare", package: "util-linux" },
  ...["ptp", "host-local", "loopback", "portmap"].map(cni),
];

/** Programs and images of a node. */
export interface NodeParts {
  readonly programs: NodePrograms;
  /** Archives to import into containerd. */
  readonly images: readonly string[];
}

/**
 * Everything that a node is made of: found, fetched, installed or built once (half an hour on two cores where all of it is built).
 * @throws PartError naming what is missing.
 */
export async function ensureNodeParts(context: PartContext): Promise<NodeParts> {
  const system = await ensureSystemPrograms(SYSTEM_PROGRAMS, context);
  const registry = await ensureRegistry(context);
  const plane = await pinnedKubernetes(context);
  const kubernetes = await ensureNodeKubernetes(context);
  const containerd = await ensureContainerd(context);
  const coredns = await ensureImageOf("coredns", COREDNS_VERSION, COREDNS_IMAGE, "github.com/coredns/coredns", context);
  const kubeRouter = await ensureKubeRouter(context);
  const pause = await ensureImageOf("pause", PAUSE_VERSION, PAUSE_IMAGE, ".", context);
  return {
    programs: {
      ...plane,
      ...kubernetes,
      containerd: join(containerd, "containerd"),
      ctr: join(containerd, "ctr"),
      containerdDir: containerd,
      kubeRouter,
      registry,
      runc: system.runc ?? "runc",
      cniDir: dirname(system.ptp ?? ""),
      pause: pause.program,
    },
    images: [pause.archive, coredns.archive],
  };
}

type NodeKubernetes = Pick<NodePrograms, "kubeControllerManager" | "kubeScheduler" | "kubelet" | "kubeProxy">;

async function ensureNodeKubernetes(context: PartContext): Promise<NodeKubernetes> {
  const names: KubernetesProgram[] = ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];
  const dir = await ensureCached({ name: "kubernetes-node", version: KUBERNETES_VERSION, recipe: 1 }, context, async (target) => {
    if (await fetchOfficial(OFFICIAL_PROGRAMS, KUBERNETES_VERSION, names, target, context)) return;
    await buildKubernetes(KUBERNETES_VERSION, names, target, context, OTHER_CLUSTER);
  });
  return {
    kubeControllerManager: join(dir, "kube-controller-manager"),
    kubeScheduler: join(dir, "kube-scheduler"),
    kubelet: join(dir, "kubelet"),
    kubeProxy: join(dir, "kube-proxy"),
  };
}

/** @returns the folder with containerd, its shim and `ctr` */
function ensureContainerd(context: PartContext): Promise<string> {
  const names = ["containerd", "containerd-shim-runc-v2", "ctr"];
  return ensureCached({ name: "containerd", version: CONTAINERD_VERSION, recipe: 1 }, context, (target) =>
    buildGo(
      {
        what: `containerd ${CONTAINERD_VERSION}`,
        dir: moduleDir("containerd"),
        programs: Object.fromEntries(names.map((n) => [n, `github.com/containerd/containerd/v2/cmd/${n}`])),
        ldflags: `-s -w -X github.com/containerd/containerd/v2/version.Version=${CONTAINERD_VERSION}`,
        remedy: OTHER_CLUSTER,
      },
      target,
      context,
    ),
  );
}

async function ensureKubeRouter(context: PartContext): Promise<string> {
  const dir = await ensureCached({ name: "kube-router", version: KUBE_ROUTER_VERSION, recipe: 1 }, context, (target) =>
    buildGo(
      {
        what: `kube-router ${KUBE_ROUTER_VERSION}`,
        dir: moduleDir("kube-router"),
        programs: { "kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router" },
        ldflags: `-s -w -X github.com/cloudnativelabs/kube-router/v2/pkg/version.Version=${KUBE_ROUTER_VERSION}`,
        remedy: OTHER_CLUSTER,
      },
      target,
      context,
    ),
  );
  return join(dir, "kube-router");
}

async function ensureImageOf(
  name: string,
  version: string,
  image: string,
  pkg: string,
  context: PartContext,
): Promise<{ readonly program: string; readonly archive: string }> {
  const dir = await ensureCached({ name, version, recipe: 1 }, context, async (target) => {
    const module = { what: `${name} ${version}`, dir: moduleDir(name), programs: { [name]: pkg }, ldflags: "-s -w", remedy: OTHER_CLUSTER };
    await buildGo(module, target, context);
    await writeImageArchive({ name: image, program: join(target, name) }, join(target, `${name}.tar`), context.signal);
  });
  return { program: join(dir, name), archive: join(dir, `${name}.tar`) };
}

/** A registry for images. Debian's package would start a service of its own, so it is only unpacked. */
export async function ensureRegistry(context: PartContext): Promise<string> {
  const chosen = (await findByEnv("AIBRIX_REGISTRY_BIN")) ?? (await findOnPath("docker-registry")) ?? (await findOnPath("registry"));
  if (chosen !== undefined) return chosen;
  try {
    const dir = await ensureCached({ name: "docker-registry", version: "debian", recipe: 1 }, context, (target) =>
      unpackDebian("docker-registry", target, context),
    );
    return join(dir, "usr/bin/docker-registry");
  } catch (error) {
    if (!(error instanceof PartError)) throw error;
    throw new PartError(
      `the registry for images is missing: ${error.message}\nPut the program docker-registry (or registry) of the distribution project on PATH, or name it in AIBRIX_REGISTRY_BIN. ${OTHER_CLUSTER}`,
    );
  }
}

/** Beside `src` and `dist` alike. */
function moduleDir(name: string): string {
  return fileURLToPath(new URL(`../../../${name}/`, import.meta.url));
}
