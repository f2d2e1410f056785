import { join } from "node:path";

type Ports = readonly [etcd: number, peer: number, apiserver: number];

/** etcd's flags. Nothing is synced to disk: the data is worth nothing after a crash of the machine. */
export function etcdArgs(dir: string, [client, peer]: Ports): string[] {
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`];
  return [
    "--name=default",
    `--data-dir=${join(dir, "etcd")}`,
    "--unsafe-no-fsync",
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    "--log-level=warn",
  ];
}

/** kube-apiserver's flags, for a control plane without controllers. `pki` holds what `control-plane.ts` makes. */
export function apiserverArgs(pki: string, ports: Ports): string[] {
  return [
    ...commonApiserverArgs(pki, ports),
    "--bind-address=127.0.0.1",
    // Since 1.37 a loopback address is refused unless nobody writes it into Endpoints.
    "--endpoint-reconciler-type=none",
    "--authorization-mode=RBAC",
    // Its default ServiceAccounts are a controller's work, and there is none.
    "--disable-admission-plugins=ServiceAccount",
  ];
}

/** kube-apiserver's flags for a whole cluster, reached at `address`. `pki` holds what the node's `credentials.ts` makes. */
export function clusterApiserverArgs(pki: string, ports: Ports, address: string): string[] {
  return [
    ...commonApiserverArgs(pki, ports),
    "--bind-address=0.0.0.0",
    `--advertise-address=${address}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    `--kubelet-client-certificate=${join(pki, "apiserver-kubelet-client.crt")}`,
    `--kubelet-client-key=${join(pki, "apiserver-kubelet-client.key")}`,
    `--kubelet-certificate-authority=${join(pki, "ca.crt")}`,
    "--kubelet-preferred-address-types=InternalIP",
    `--requestheader-client-ca-file=${join(pki, "ca.crt")}`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    `--proxy-client-cert-file=${join(pki, "front-proxy-client.crt")}`,
    `--proxy-client-key-file=${join(pki, "front-proxy-client.key")}`,
  ];
}

function commonApiserverArgs(pki: string, [etcd, , apiserver]: Ports): string[] {
  return [
    `--etcd-servers=http://127.0.0.1:${etcd}`,
    `--secure-port=${apiserver}`,
    `--tls-cert-file=${join(pki, "apiserver.crt")}`,
    `--tls-private-key-file=${join(pki, "apiserver.key")}`,
    `--client-ca-file=${join(pki, "ca.crt")}`,
    `--cert-dir=${pki}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${join(pki, "sa.pub")}`,
    `--service-account-signing-key-file=${join(pki, "sa.key")}`,
    "--allow-privileged=true",
    "--service-cluster-ip-range=10.96.0.0/16",
  ];
}
