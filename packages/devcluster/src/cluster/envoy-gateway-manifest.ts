import { ENVOY_GATEWAY_VERSION } from "../parts/gateway-crds.ts";

export const ENVOY_GATEWAY_NAMESPACE = "envoy-gateway-system";

const NAME = "envoy-gateway";
const IMAGE = `docker.io/envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`;
const PORTS = { grpc: 18000, ratelimit: 18001, wasm: 18002, metrics: 19001 } as const;
const HEALTH_PORT = 8081;

/** Names its own image for the container beside Envoy; one replica elects nobody. */
const CONFIG = {
  apiVersion: "gateway.envoyproxy.io/v1alpha1",
  kind: "EnvoyGateway",
  gateway: { controllerName: "gateway.envoyproxy.io/gatewayclass-controller" },
  logging: { level: { default: "info" } },
  extensionApis: { enableLua: true },
  provider: {
    type: "Kubernetes",
    kubernetes: { shutdownManager: { image: IMAGE }, proxyTopologyInjector: { disable: true }, leaderElection: { disable: true } },
  },
};

/**
 * Envoy Gateway for a cluster of this machine, as one manifest: what its chart installs without what one replica on one node has no use
 * for (leader election, the webhook for zones), and with every right in the cluster, which is its own. Its CRDs come first. Pure.
 */
export function envoyGatewayManifest(): object {
  const metadata = { name: NAME, namespace: ENVOY_GATEWAY_NAMESPACE };
  const labels = { "control-plane": NAME };
  const items = [
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: ENVOY_GATEWAY_NAMESPACE, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    },
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: NAME },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", ...metadata }],
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { ...metadata, name: "envoy-gateway-config" },
      data: { "envoy-gateway.yaml": JSON.stringify(CONFIG) },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...metadata, labels },
      spec: { selector: labels, ports: Object.entries(PORTS).map(([name, port]) => ({ name, port })) },
    },
    {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { ...metadata, name: "envoy-gateway-certgen" },
      spec: { template: { spec: { ...podSpec([certgen()]), restartPolicy: "Never" } } },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { ...metadata, labels },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: serverSpec() } },
    },
  ];
  return { apiVersion: "v1", kind: "List", items };
}

/** Makes the certificates by which Envoy and Envoy Gateway know each other. */
function certgen(): object {
  return { ...container("certgen", ["certgen", "--disable-topology-injector"]) };
}

function serverSpec(): object {
  const server = {
    ...container(NAME, ["server", "--config-path=/config/envoy-gateway.yaml"]),
    ports: Object.entries(PORTS).map(([name, containerPort]) => ({ name, containerPort })),
    startupProbe: { httpGet: { path: "/healthz", port: HEALTH_PORT }, periodSeconds: 1, failureThreshold: 120 },
    livenessProbe: { httpGet: { path: "/healthz", port: HEALTH_PORT }, periodSeconds: 20, timeoutSeconds: 5 },
    readinessProbe: { httpGet: { path: "/readyz", port: HEALTH_PORT }, periodSeconds: 2 },
    resources: { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "1Gi" } },
    volumeMounts: [
      { name: "config", mountPath: "/config", readOnly: true },
      { name: "certs", mountPath: "/certs", readOnly: true },
      { name: "wasm", mountPath: "/var/lib/eg/wasm" },
    ],
  };
  const volumes = [
    { name: "config", configMap: { name: "envoy-gateway-config" } },
    { name: "certs", secret: { secretName: NAME } },
    { name: "wasm", emptyDir: {} },
  ];
  return { ...podSpec([server]), volumes };
}

function podSpec(containers: readonly object[]): object {
  return {
    serviceAccountName: NAME,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      fsGroup: 65532,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers,
  };
}

function container(name: string, args: readonly string[]): object {
  return {
    name,
    image: IMAGE,
    imagePullPolicy: "IfNotPresent",
    command: ["envoy-gateway", ...args],
    env: [
      { name: "ENVOY_GATEWAY_NAMESPACE", value: ENVOY_GATEWAY_NAMESPACE },
      { name: "KUBERNETES_CLUSTER_DOMAIN", value: "cluster.local" },
    ],
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
  };
}
