import { parse } from "yaml";
import type { ClientConfig } from "./api-client.ts";

interface Entry {
  readonly name: string;
}
interface File {
  readonly "current-context": string;
  readonly contexts: readonly (Entry & { readonly context: { readonly cluster: string; readonly user: string } })[];
  readonly clusters: readonly (Entry & { readonly cluster: Readonly<Record<string, string>> })[];
  readonly users: readonly (Entry & { readonly user: Readonly<Record<string, string>> })[];
}

/**
 * Whom the current context of a kubeconfig lets in, where it holds a certificate and its key, as that of an administrator does. Pure.
 * @throws Error where it has anything else
 */
export function readKubeconfig(text: string): ClientConfig {
  const file = parse(text) as File;
  const context = named(file.contexts, file["current-context"])?.context;
  const cluster = named(file.clusters, context?.cluster)?.cluster;
  const user = named(file.users, context?.user)?.user;
  const pem = (value: string | undefined) => (value === undefined ? undefined : Buffer.from(value, "base64").toString());
  const [ca, cert, key] = [cluster?.["certificate-authority-data"], user?.["client-certificate-data"], user?.["client-key-data"]].map(pem);
  if (cluster?.server === undefined || ca === undefined || cert === undefined || key === undefined)
    throw new Error("the kubeconfig's current context has no certificate of a user with its key");
  return { server: cluster.server, ca, cert, key };
}

function named<T extends Entry>(entries: readonly T[], name: string | undefined): T | undefined {
  return entries.find((entry) => entry.name === name);
}
