import { clusterApiserverArgs, etcdArgs } from "../command-lines.ts";
import { healthUrls } from "./config-files.ts";
import { INSIDE, type NodeLayout } from "./layout.ts";
import { NODE_NAME, type NodeNames } from "./names.ts";
import { type NodeSubnet, POD_RANGE, SERVICE_RANGE } from "./network.ts";
import { UNSHARE_COMMAND } from "./scripts.ts";

/** Where the node's programs are on this machine. */
export interface NodePrograms {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubectl: string;
  readonly kubeControllerManager: string;
  readonly kubeScheduler: string;
  readonly kubelet: string;
  readonly kubeProxy: string;
  readonly kubeRouter: string;
  readonly containerd: string;
  readonly ctr: string;
  /** Holds containerd's shim. */
  readonly containerdDir: string;
  readonly registry: string;
  readonly runc: string;
  /** The plugins for pods' network. */
  readonly cniDir: string;
  /** First process of the node. */
  readonly pause: string;
}

/** How it is known that a program works. */
export type NodeProbe =
  | { readonly kind: "http"; readonly url: string }
  /** Answers by the node's certificate authority. */
  | { readonly kind: "https"; readonly url: string }
  /** The namespaces are there. */
  | { readonly kind: "holder" };

/** A program of the node as data. */
export interface NodePart {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly url: string;
  readonly probe: NodeProbe;
  readonly readyWithinMs: number;
}

/** Everything that the plan depends on. */
export interface NodePlanInput {
  readonly programs: NodePrograms;
  readonly names: NodeNames;
  readonly subnet: NodeSubnet;
  readonly layout: NodeLayout;
  /** The supervisor's PATH. */
  readonly path: string;
}

/** The node's network is its own, so every port is the usual one. */
const [ETCD, ETCD_PEER, APISERVER] = [2379, 2380, 6443] as const;
const ETCD_METRICS = 2381;
const CONTROLLER_MANAGER = 10257;
const SCHEDULER = 10259;
const KUBE_ROUTER = 20244;
const QUICK_MS = 60_000;
const SLOW_MS = 120_000;

/** @returns where clients reach the API server */
export function apiUrl(subnet: NodeSubnet): string {
  return `https://${subnet.node}:${APISERVER}`;
}

/** The process that holds the namespaces. It starts first: the others enter them. */
export function planHolder({ programs, names, subnet, layout }: NodePlanInput): NodePart {
  return {
    name: "node",
    command: "sh",
    args: [
      "-c",
      UNSHARE_COMMAND,
      "sh",
      layout.holderScript,
      layout.root,
      layout.registryData,
      names.interface,
      subnet.host,
      subnet.node,
      String(subnet.prefix),
      SERVICE_RANGE,
      programs.pause,
    ],
    env: {},
    url: subnet.node,
    probe: { kind: "holder" },
    readyWithinMs: QUICK_MS,
  };
}

/** What needs nothing but the namespaces. */
export function planBasics(input: NodePlanInput): readonly NodePart[] {
  const { programs, subnet } = input;
  const health = healthUrls(subnet.node);
  const etcdMetrics = `http://${subnet.node}:${ETCD_METRICS}`;
  return [
    within(input, {
      name: "etcd",
      argv: [programs.etcd, ...etcdArgs(INSIDE, [ETCD, ETCD_PEER, APISERVER]), `--listen-metrics-urls=${etcdMetrics}`],
      probe: { kind: "http", url: `${etcdMetrics}/health` },
    }),
    within(input, {
      name: "containerd",
      argv: [programs.containerd, "--config", `${INSIDE}/config/containerd.toml`],
      probe: { kind: "http", url: health.containerd },
    }),
    within(input, {
      name: "registry",
      argv: [programs.registry, "serve", `${INSIDE}/config/registry.json`],
      probe: { kind: "http", url: health.registry },
    }),
  ];
}

/** Needs etcd. */
export function planApiserver(input: NodePlanInput): NodePart {
  const args = clusterApiserverArgs(`${INSIDE}/pki`, [ETCD, ETCD_PEER, APISERVER], input.subnet.node);
  return within(input, {
    name: "kube-apiserver",
    argv: [input.programs.kubeApiserver, ...args],
    probe: { kind: "https", url: `${apiUrl(input.subnet)}/readyz` },
    readyWithinMs: SLOW_MS,
  });
}

/** What needs the API server. */
export function planRest(input: NodePlanInput): readonly NodePart[] {
  const { programs, subnet } = input;
  const pki = `${INSIDE}/pki`;
  const health = healthUrls(subnet.node);
  return [
    within(input, {
      name: "kube-controller-manager",
      argv: [
        programs.kubeControllerManager,
        ...controllerArgs("kube-controller-manager", subnet.node, CONTROLLER_MANAGER),
        `--service-account-private-key-file=${pki}/sa.key`,
        `--root-ca-file=${pki}/ca.crt`,
        `--cluster-signing-cert-file=${pki}/ca.crt`,
        `--cluster-signing-key-file=${pki}/ca.key`,
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        `--cluster-cidr=${POD_RANGE}`,
        `--service-cluster-ip-range=${SERVICE_RANGE}`,
        `--flex-volume-plugin-dir=${INSIDE}/volume-plugins`,
      ],
      probe: { kind: "https", url: `https://${subnet.node}:${CONTROLLER_MANAGER}/healthz` },
    }),
    within(input, {
      name: "kube-scheduler",
      argv: [programs.kubeScheduler, ...controllerArgs("kube-scheduler", subnet.node, SCHEDULER)],
      probe: { kind: "https", url: `https://${subnet.node}:${SCHEDULER}/healthz` },
    }),
    within(input, {
      name: "kubelet",
      argv: [
        programs.kubelet,
        `--config=${INSIDE}/config/kubelet.json`,
        `--kubeconfig=${INSIDE}/config/kubelet.kubeconfig`,
        `--root-dir=${INSIDE}/kubelet`,
        `--cert-dir=${pki}`,
        `--hostname-override=${NODE_NAME}`,
        `--node-ip=${subnet.node}`,
      ],
      probe: { kind: "http", url: health.kubelet },
    }),
    within(input, {
      name: "kube-proxy",
      argv: [programs.kubeProxy, `--config=${INSIDE}/config/kube-proxy.json`],
      probe: { kind: "http", url: health.kubeProxy },
    }),
  ];
}

/**
 * What enforces NetworkPolicies, with iptables and ipset in the node's network; it routes nothing and serves no Service. It needs the node's
 * object and its own rights in the cluster.
 */
export function planPolicies(input: NodePlanInput): NodePart {
  const args = ["--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--enable-cni=false"];
  return within(input, {
    name: "kube-router",
    argv: [
      input.programs.kubeRouter,
      `--kubeconfig=${INSIDE}/config/kube-router.kubeconfig`,
      `--hostname-override=${NODE_NAME}`,
      `--service-cluster-ip-range=${SERVICE_RANGE}`,
      `--health-port=${KUBE_ROUTER}`,
      ...args,
    ],
    probe: { kind: "http", url: `http://${input.subnet.node}:${KUBE_ROUTER}/healthz` },
  });
}

function controllerArgs(name: string, address: string, port: number): string[] {
  const pki = `${INSIDE}/pki`;
  return [
    ...["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"].map(
      (flag) => `--${flag}=${INSIDE}/config/${name}.kubeconfig`,
    ),
    `--bind-address=${address}`,
    `--secure-port=${port}`,
    `--tls-cert-file=${pki}/server.crt`,
    `--tls-private-key-file=${pki}/server.key`,
    "--leader-elect=false",
  ];
}

/** A program in the node's namespaces. */
function within(
  { layout, programs, path }: NodePlanInput,
  part: {
    readonly name: string;
    readonly argv: readonly string[];
    readonly probe: Exclude<NodeProbe, { kind: "holder" }>;
    readonly readyWithinMs?: number;
  },
): NodePart {
  return {
    name: part.name,
    command: "sh",
    args: [layout.enterScript, layout.holderFile, ...part.argv],
    env: {
      PATH: `${programs.containerdDir}:${path}:/usr/local/sbin:/usr/sbin:/sbin`,
      TMPDIR: `${INSIDE}/tmp`,
      KUBECONFIG: undefined,
      ...NO_PROXY,
    },
    url: new URL(part.probe.url).origin,
    probe: part.probe,
    readyWithinMs: part.readyWithinMs ?? QUICK_MS,
  };
}

/** The node reaches itself alone, and no proxy reaches it. */
const NO_PROXY = Object.fromEntries(
  ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [
    [name, undefined],
    [name.toLowerCase(), undefined],
  ]),
);
