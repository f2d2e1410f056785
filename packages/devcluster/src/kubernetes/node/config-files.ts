import { CONTAINERD_SOCKET, INSIDE, INSIDE_REGISTRY } from "./layout.ts";
import { NODE_NAME } from "./names.ts";
import { DNS_ADDRESS, NODE_POD_RANGE, POD_RANGE } from "./network.ts";

/** What the configuration depends on. */
export interface ConfigInput {
  /** The node's address. */
  readonly node: string;
  readonly cgroup: string;
  readonly runc: string;
  readonly cniDir: string;
  readonly pauseImage: string;
}

/** The registry listens for the node and for this machine; containerd is told of it under the name `docker.io`. */
export const REGISTRY_PORT = 5000;
const METRICS_PORT = 1338;
const KUBELET_HEALTH_PORT = 10248;
const PROXY_HEALTH_PORT = 10256;

/** Where the programs that these files configure say that they work. */
export const healthUrls = (node: string) => ({
  registry: `http://${node}:${REGISTRY_PORT}/v2/`,
  containerd: `http://${node}:${METRICS_PORT}/v1/metrics`,
  kubelet: `http://${node}:${KUBELET_HEALTH_PORT}/healthz`,
  kubeProxy: `http://${node}:${PROXY_HEALTH_PORT}/healthz`,
});

/** Files by their path below the node's folder, as the programs in the node read them. Pure. */
export function configFiles(input: ConfigInput): Readonly<Record<string, string>> {
  return {
    "config/containerd.toml": containerdToml(input),
    "config/certs.d/docker.io/hosts.toml": mirrorToml(),
    "config/cni/10-pods.conflist": json(podNetwork()),
    "config/kubelet.json": json(kubeletConfig(input)),
    "config/kube-proxy.json": json(kubeProxyConfig(input)),
    "config/registry.json": json(registryConfig()),
    // Pods' names are answered by CoreDNS, which asks nobody: this address has no server.
    "config/resolv.conf": "nameserver 127.0.0.1\n",
  };
}

function containerdToml({ node, runc, cniDir, pauseImage }: ConfigInput): string {
  return `version = 3
root = "${INSIDE}/containerd"
state = "/run/containerd"
# Would make a folder below /opt.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "${CONTAINERD_SOCKET}"

[metrics]
  address = "${node}:${METRICS_PORT}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "${INSIDE}/config/certs.d"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "${pauseImage}"

[plugins."io.containerd.cri.v1.runtime"]
  # Some machines take away the right to make a process less likely to be killed for memory.
  restrict_oom_score_adj = true
  # A profile would be loaded into the machine's kernel, and stay.
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [${JSON.stringify(cniDir)}]
    conf_dir = "${INSIDE}/config/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = ${JSON.stringify(runc)}
`;
}

function mirrorToml(): string {
  const registry = `http://127.0.0.1:${REGISTRY_PORT}`;
  return `server = "${registry}"\n\n[host."${registry}"]\n  capabilities = ["pull", "resolve"]\n`;
}

/** A cable to each pod and a route to it: unlike a bridge it needs no kernel module that passes bridged packets to the firewall. */
function podNetwork(): object {
  return {
    cniVersion: "1.0.0",
    name: "pods",
    plugins: [
      {
        type: "ptp",
        ipMasq: false,
        ipam: { type: "host-local", dataDir: "/run/cni-addresses", ranges: [[{ subnet: NODE_POD_RANGE }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

function kubeletConfig({ node, cgroup }: ConfigInput): object {
  const pki = `${INSIDE}/pki`;
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: node,
    healthzBindAddress: node,
    healthzPort: KUBELET_HEALTH_PORT,
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: `${pki}/ca.crt` } },
    authorization: { mode: "Webhook" },
    tlsCertFile: `${pki}/server.crt`,
    tlsPrivateKeyFile: `${pki}/server.key`,
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${cgroup}`,
    // Machines with the older control groups are refused without this since 1.35.
    failCgroupV1: false,
    failSwapOn: false,
    clusterDNS: [DNS_ADDRESS],
    clusterDomain: "cluster.local",
    resolvConf: `${INSIDE}/config/resolv.conf`,
    podLogsDir: `${INSIDE}/pod-logs`,
    volumePluginDir: `${INSIDE}/volume-plugins`,
    // The disk is the whole machine's: a full one must not end pods here or remove images that nobody can fetch again.
    evictionHard: { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%" },
    imageGCHighThresholdPercent: 100,
    serializeImagePulls: false,
    makeIPTablesUtilChains: false,
    nodeStatusUpdateFrequency: "4s",
  };
}

function kubeProxyConfig({ node }: ConfigInput): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig: `${INSIDE}/config/kube-proxy.kubeconfig` },
    mode: "nftables",
    clusterCIDR: POD_RANGE,
    hostnameOverride: NODE_NAME,
    healthzBindAddress: `${node}:${PROXY_HEALTH_PORT}`,
    metricsBindAddress: "127.0.0.1:10249",
    // Zero leaves the kernel's settings alone: some of them are the whole machine's.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  };
}

function registryConfig(): object {
  return {
    version: 0.1,
    log: { level: "warn", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: INSIDE_REGISTRY }, cache: { blobdescriptor: "inmemory" }, delete: { enabled: true } },
    http: { addr: `0.0.0.0:${REGISTRY_PORT}` },
  };
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
