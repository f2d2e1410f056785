import { basename } from "node:path";
import { nodeNames } from "@aibrix/devcluster";
import type { Platform } from "./platform.ts";
import { carriers, everyPid, readProc } from "./processes.ts";

/** Every object of the cluster but events, as `Kind namespace/name`, sorted. */
export async function everyObject(platform: Platform): Promise<readonly string[]> {
  const kinds = (await platform.kubectl("api-resources", "--verbs=list", "-o", "name")).split("\n");
  const wanted = kinds.filter((kind) => kind !== "" && !/^events(\.|$)/.test(kind)).join(",");
  return await named(platform, wanted, "-A");
}

async function named(platform: Platform, ...what: readonly string[]): Promise<readonly string[]> {
  const columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
  const rows = await platform.kubectl("get", ...what, "--ignore-not-found", "--no-headers", "-o", columns);
  const lines = rows.split("\n").filter((row) => row.trim() !== "");
  return lines
    .map((row) => row.trim().split(/\s+/))
    .map(([kind, namespace, name]) => `${kind} ${namespace}/${name}`)
    .sort();
}

/** Processes of this machine that run in the node's pods, by the pods' uids. Root and Linux only. */
export function podProcesses({ dir }: Platform): ReadonlyMap<string, readonly number[]> {
  const groups = new RegExp(`/${nodeNames(dir).cgroup}/kubepods/.*?pod([0-9a-f-]{36})`);
  const found = new Map<string, number[]>();
  for (const pid of everyPid()) {
    const uid = groups.exec(readProc(pid, "cgroup"))?.[1];
    if (uid !== undefined) found.set(uid, [...(found.get(uid) ?? []), pid]);
  }
  return found;
}

/** Numbers of the node's own processes that run a program of this name. Linux only. */
export function nodeProcesses({ dir }: Platform, program: string): readonly number[] {
  const programOf = (pid: number) => basename(readProc(pid, "cmdline").split("\0")[0] ?? "");
  return carriers("AIBRIX_STACK_DIR", dir).filter((pid) => programOf(pid) === program);
}

/** What every cluster has before anything is installed: of Kubernetes itself, and of the programs in `kube-system` on a node of ours or of kind. */
const KUBERNETES: readonly RegExp[] = [
  /^Namespace <none>\/(default|kube-node-lease|kube-public|kube-system|local-path-storage)$/,
  /^\w+ (kube-node-lease|kube-public|kube-system|local-path-storage)\//,
  /^(Service|Endpoints) default\/kubernetes$/,
  /^EndpointSlice default\/kubernetes$/,
  /^ServiceAccount [\w-]+\/default$/,
  /^ConfigMap [\w-]+\/kube-root-ca\.crt$/,
  /^ClusterTrustBundle <none>\/kubernetes\.io:/,
  /^CertificateSigningRequest <none>\/csr-/,
  /^(Node|CSINode|ComponentStatus|IPAddress|ServiceCIDR|FlowSchema|PriorityLevelConfiguration|RuntimeClass|StorageClass) <none>\//,
  /^APIService <none>\/v\w+\.(|apps|autoscaling|batch|policy|[a-z.]+\.k8s\.io)$/,
  /^PriorityClass <none>\/system-(cluster|node)-critical$/,
  /^ClusterRole <none>\/(admin|cluster-admin|edit|view|kube-router|kindnet|local-path-provisioner-role|(system|kubeadm):.*)$/,
  /^ClusterRoleBinding <none>\/(cluster-admin|kube-router|kindnet|local-path-provisioner-bind|(system|kubeadm):.*)$/,
];
/** What Envoy Gateway and the controllers of Kubernetes make beside what was applied of Envoy Gateway and of the Hub. */
const MADE: readonly RegExp[] = [
  /^(Endpoints|EndpointSlice|Pod|ReplicaSet) (envoy-gateway-system\/envoy-gateway|aibrix-dev\/hub)(-\w+)*$/,
  /^Secret envoy-gateway-system\/envoy(-gateway|-oidc-hmac|-rate-limit)?$/,
  /^Lease envoy-gateway-system\/[0-9a-f]+\.gateway\.envoyproxy\.io$/,
  /^APIService <none>\/v\w+\.gateway\.(envoyproxy\.io|networking\.x-k8s\.io)$/,
];

/** Objects of some manifests that the cluster has, as {@link everyObject} names them. */
export async function objectsOf(platform: Platform, ...files: readonly string[]): Promise<readonly string[]> {
  return await named(platform, ...files.flatMap((file) => ["-f", file]));
}

/** Of some objects those that neither Kubernetes has by itself, nor were applied, nor are made by what was applied of Envoy Gateway and the Hub. */
export function unexplained(objects: readonly string[], applied: readonly string[]): readonly string[] {
  return objects.filter((o) => !applied.includes(o) && ![...KUBERNETES, ...MADE].some((known) => known.test(o)));
}
