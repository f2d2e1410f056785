import { GATEWAY_PORT } from "../platform.ts";

/** What a cluster of kind is made with. */
export interface KindInput {
  /** Of the cluster; the registry's container begins with it. */
  readonly name: string;
  readonly kubeconfig: string;
  /** Port of this machine for the gateway. */
  readonly gatewayPort: number;
  /** Port of this machine for the registry. */
  readonly registryPort: number;
}

export type Argv = readonly [string, ...string[]];

/** Docker's network in which kind puts its nodes. */
const NETWORK = "kind";
const REGISTRY_IMAGE = "registry:2";
const REGISTRY_PORT = 5000;
const READY_WITHIN = "180s";

/** Where containerd looks for what it is told of a registry. Nodes of kind 0.27 look there by themselves; older ones have to be told. */
const REGISTRIES = "/etc/containerd/certs.d";
const LOOK_FOR_REGISTRIES = `[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${REGISTRIES}"\n`;

/** kind's configuration, JSON as YAML. The gateway's Service has the node's own address, at which kube-proxy takes its port. */
export function kindConfig({ gatewayPort }: Pick<KindInput, "gatewayPort">): string {
  const mapping = { containerPort: GATEWAY_PORT, hostPort: gatewayPort, listenAddress: "127.0.0.1", protocol: "TCP" };
  const config = {
    kind: "Cluster",
    apiVersion: "kind.x-k8s.io/v1alpha4",
    containerdConfigPatches: [LOOK_FOR_REGISTRIES],
    nodes: [{ role: "control-plane", extraPortMappings: [mapping] }],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

export function createCluster({ name, kubeconfig }: KindInput, configFile: string): Argv {
  return ["kind", "create", "cluster", "--name", name, "--config", configFile, "--kubeconfig", kubeconfig, "--wait", READY_WITHIN];
}

/** After the cluster, which makes the network. */
export function runRegistry({ name, registryPort }: KindInput): Argv {
  const publish = `127.0.0.1:${registryPort}:${REGISTRY_PORT}`;
  return ["docker", "run", "--detach", "--name", registryOf(name), "--network", NETWORK, "--publish", publish, REGISTRY_IMAGE];
}

export function listNodes(name: string): Argv {
  return ["kind", "get", "nodes", "--name", name];
}

/** Names of docker.io are asked for at the registry first; what it does not have comes from where it always came from. */
export function mirror(name: string, node: string): Argv {
  const folder = `${REGISTRIES}/docker.io`;
  const toml = `[host."http://${registryOf(name)}:${REGISTRY_PORT}"]\n  capabilities = ["pull", "resolve"]\n`;
  return ["docker", "exec", node, "sh", "-c", 'mkdir -p "$1" && printf %s "$2" > "$1/hosts.toml"', "mirror", folder, toml];
}

export function deleteCluster(name: string, kubeconfig: string): Argv {
  return ["kind", "delete", "cluster", "--name", name, "--kubeconfig", kubeconfig];
}

/** Prints the registry's container where there is one. */
export function findRegistry(name: string): Argv {
  return ["docker", "ps", "--all", "--quiet", "--filter", `name=^${registryOf(name)}$`];
}

export function removeRegistry(name: string): Argv {
  return ["docker", "rm", "--force", "--volumes", registryOf(name)];
}

function registryOf(name: string): string {
  return `${name}-registry`;
}
