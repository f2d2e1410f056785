const NAME = "kube-router";

/** The rights of kube-router, by the user name of its certificate, as one manifest. It changes nothing in the cluster. Pure. */
export function kubeRouterManifest(): object {
  const rbac = "rbac.authorization.k8s.io";
  const read = ["get", "list", "watch"];
  const items = [
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name: NAME },
      rules: [
        { apiGroups: [""], resources: ["endpoints", "namespaces", "nodes", "pods", "services"], verbs: read },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: read },
        { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: read },
      ],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name: NAME },
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name: NAME },
      subjects: [{ apiGroup: rbac, kind: "User", name: NAME }],
    },
  ];
  return { apiVersion: "v1", kind: "List", items };
}
