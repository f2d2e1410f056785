import { DNS_ADDRESS } from "./network.ts";

const NAMESPACE = "kube-system";
/** Deployment that answers for names in the cluster. */
export const COREDNS_PATH: string = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/coredns`;

/** Nobody is asked for names outside the cluster: from a node without a way out there would be no answer. */
const COREFILE = `.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    loadbalance
    reload
}
`;

/** CoreDNS as one manifest. Pure. */
export function corednsManifest(image: string): object {
  const metadata = { name: "coredns", namespace: NAMESPACE };
  const labels = { "k8s-app": "kube-dns" };
  const role = "system:coredns";
  const items = [
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: role },
      rules: [
        { apiGroups: [""], resources: ["endpoints", "services", "pods", "namespaces"], verbs: ["list", "watch"] },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
      ],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: role },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
      subjects: [{ kind: "ServiceAccount", name: metadata.name, namespace: NAMESPACE }],
    },
    { apiVersion: "v1", kind: "ConfigMap", metadata, data: { Corefile: COREFILE } },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { ...metadata, labels },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: podSpec(image) } },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns", namespace: NAMESPACE, labels },
      spec: {
        clusterIP: DNS_ADDRESS,
        selector: labels,
        ports: [
          { name: "dns", port: 53, protocol: "UDP" },
          { name: "dns-tcp", port: 53, protocol: "TCP" },
        ],
      },
    },
  ];
  return { apiVersion: "v1", kind: "List", items };
}

function podSpec(image: string): object {
  return {
    serviceAccountName: "coredns",
    dnsPolicy: "Default",
    priorityClassName: "system-cluster-critical",
    containers: [
      {
        name: "coredns",
        image,
        imagePullPolicy: "Never",
        args: ["-conf", "/etc/coredns/Corefile"],
        ports: [
          { name: "dns", containerPort: 53, protocol: "UDP" },
          { name: "dns-tcp", containerPort: 53, protocol: "TCP" },
        ],
        readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 1 },
        livenessProbe: { httpGet: { path: "/health", port: 8080 }, failureThreshold: 5 },
        resources: { requests: { cpu: "50m", memory: "32Mi" }, limits: { memory: "170Mi" } },
        volumeMounts: [{ name: "config", mountPath: "/etc/coredns", readOnly: true }],
      },
    ],
    volumes: [{ name: "config", configMap: { name: "coredns" } }],
  };
}
