import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ClientConfig } from "../api-client.ts";
import { writeKubeconfig } from "../kubeconfig.ts";
import { CertificateAuthority, type Subject, writeKey } from "../pki.ts";
import type { NodeLayout } from "./layout.ts";
import { NODE_NAME } from "./names.ts";
import { API_ADDRESS, type NodeSubnet } from "./network.ts";
import { apiUrl } from "./plan-node.ts";

/** Who takes part, by the name of certificate and key in the `pki` folder. Pure. */
export function subjects(node: string): Readonly<Record<string, Subject>> {
  const service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
  const client = (commonName: string, ...organizations: string[]) => ({ commonName, organizations, usage: "clientAuth" }) as const;
  return {
    apiserver: {
      commonName: "kube-apiserver",
      usage: "serverAuth",
      altNames: [...service.map((n) => `DNS:${n}`), "DNS:localhost", "IP:127.0.0.1", `IP:${node}`, `IP:${API_ADDRESS}`],
    },
    // kubelet, controller manager and scheduler.
    server: { commonName: NODE_NAME, usage: "serverAuth", altNames: [`DNS:${NODE_NAME}`, `IP:${node}`] },
    admin: client("admin", "system:masters"),
    "apiserver-kubelet-client": client("kube-apiserver-kubelet-client", "system:masters"),
    "front-proxy-client": client("front-proxy-client"),
    kubelet: client(`system:node:${NODE_NAME}`, "system:nodes"),
    "kube-controller-manager": client("system:kube-controller-manager"),
    "kube-scheduler": client("system:kube-scheduler"),
    "kube-proxy": client("system:kube-proxy"),
    "kube-router": client("kube-router"),
  };
}

/** Clients with a kubeconfig file in the node's `config` folder. */
const PROGRAMS = ["kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kube-router"] as const;

/**
 * Makes keys, certificates and kubeconfig files for a new cluster.
 * @returns how its administrator reaches it
 */
export async function writeCredentials(layout: NodeLayout, subnet: NodeSubnet, signal: AbortSignal): Promise<ClientConfig> {
  const server = apiUrl(subnet);
  await mkdir(layout.pki, { recursive: true, mode: 0o700 });
  const authority = await CertificateAuthority.create(layout.pki, signal);
  await Promise.all([
    ...Object.entries(subjects(subnet.node)).map(([name, subject]) => authority.issue(name, subject, signal)),
    writeKey(join(layout.pki, "sa.key"), join(layout.pki, "sa.pub")),
  ]);
  const ca = await readFile(authority.certFile, "utf8");
  const clientOf = async (name: string): Promise<ClientConfig> => {
    const [cert, key] = await Promise.all(["crt", "key"].map((end) => readFile(join(layout.pki, `${name}.${end}`), "utf8")));
    return { server, ca, cert: cert ?? "", key: key ?? "" };
  };
  for (const name of PROGRAMS) {
    await writeKubeconfig(join(layout.config, `${name}.kubeconfig`), { name: NODE_NAME, ...(await clientOf(name)) });
  }
  const admin = await clientOf("admin");
  await writeKubeconfig(layout.kubeconfig, { name: NODE_NAME, ...admin });
  return admin;
}
