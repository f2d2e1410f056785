import { writeFile } from "node:fs/promises";

/** Whom a kubeconfig file lets in where. All but the address are PEM texts or a token. */
export interface Kubeconfig {
  /** What cluster and context are called in it. */
  readonly name: string;
  readonly server: string;
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

/** Writes the file, readable by this user alone. JSON is YAML. */
export async function writeKubeconfig(file: string, { name, server, ca, cert, key, token }: Kubeconfig): Promise<void> {
  const base64 = (pem: string) => Buffer.from(pem).toString("base64");
  const user = {
    ...(cert === undefined ? {} : { "client-certificate-data": base64(cert) }),
    ...(key === undefined ? {} : { "client-key-data": base64(key) }),
    ...(token === undefined ? {} : { token }),
  };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server, "certificate-authority-data": base64(ca) } }],
    users: [{ name: "caller", user }],
    contexts: [{ name, context: { cluster: name, user: "caller" } }],
    "current-context": name,
  };
  await writeFile(file, JSON.stringify(config, null, 2), { mode: 0o600 });
}
