import { ENVOY_GATEWAY_VERSION } from "../parts/gateway-crds.ts";
import { imageAt } from "./manifests.ts";

export const ENVOY_GATEWAY_NAMESPACE = "envoy-gateway-system";

const NAME = "envoy-gateway";
const IMAGE = `docker.io/envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`;
const PORTS = { grpc: 18000, ratelimit: 18001, wasm: 18002, metrics: 19001 } as const;
const HEALTH_PORT = 8081;

/**
 * Envoy Gateway for a cluster of this machine, as one manifest: what its chart installs without what one replica on one node has no use
 * for (leader election, the webhook for zones), and with every right in the cluster, which is for development. Its CRDs come first. Pure.
 *
 * @param imageRegistry - goes before the name of its image
 */
export function envoyGatewayManifest(imageRegistry?: string): object {
  const image = imageAt(imageRegistry, IMAGE);
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
      data: { "envoy-gateway.yaml": JSON.stringify(config(image)) },
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
      spec: { template: { spec: { ...podSpec([certgen(image)]), restartPolicy: "Never" } } },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { ...metadata, labels },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: serverSpec(image) } },
    },
  ];
  return { apiVersion: "v1", kind: "List", items };
}

/** Names its own image for the container beside Envoy; one replica elects nobody. */
function config(image: string): object {
  return {
    apiVersion: "gateway.envoyproxy.io/v1alpha1",
    kind: "EnvoyGateway",
    gateway: { controllerName: "gateway.envoyproxy.io/gatewayclass-controller" },
    logging: { level: { default: "info" } },
    extensionApis: { enableLua: true },
    provider: {
      type: "Kubernetes",
      kubernetes: { shutdownManager: { image }, proxyTopologyInjector: { disable: true }, leaderElection: { disable: true } },
    },
  };
}

/** Makes the certificates by which Envoy and Envoy Gateway know each other. */
function certgen(image: string): object {
  return container("certgen", image, ["certgen", "--disable-topology-injector"]);
}

function serverSpec(image: string): object {
  const server = {
    ...container(NAME, image, ["server", "--config-path=/config/envoy-gateway.yaml"]),
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

function container(name: string, image: string, args: readonly string[]): object {
  return {
    name,
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["envoy-gateway", ...args],
    env: [
      { name: "ENVOY_GATEWAY_NAMESPACE", value: ENVOY_GATEWAY_NAMESPACE },
      { name: "KUBERNETES_CLUSTER_DOMAIN", value: "cluster.local" },
    ],
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
  };
}
