import { ANNOTATION_ALLOWED_HOSTS, allowedHosts, BadHostsError, CONFIG_API_KEY, type ModelAdapterSpec, SECRET_KEYS } from "@aibrix/api";
import { type KubeClient, KubeError, SECRETS, type Secret } from "@aibrix/kube";

/** Contents of the Secrets that an adapter names. Never logged, never written anywhere. */
export type AdapterSecrets =
  | {
      readonly kind: "ok";
      readonly credentials: Readonly<Record<string, string>> | undefined;
      /** Where the credentials' Secret says by its annotation that they may go; `undefined` where it says nothing. */
      readonly credentialsHosts?: readonly string[] | undefined;
      readonly apiKey: string | undefined;
      /** Changes when the contents do; says nothing about them. Empty where no Secret is used. */
      readonly version: string;
    }
  | { readonly kind: "missing"; readonly message: string };

/** How long a Secret that was read counts as current, in milliseconds. */
export const SECRET_MAX_AGE_MS = 60_000;

interface Read {
  readonly atMs: number;
  readonly secret: Secret | undefined;
}

/** Reads Secrets by name, and again once what was read is a minute old: they are never listed or watched. */
export class SecretReader {
  readonly #client: Pick<KubeClient, "find">;
  readonly #maxAgeMs: number;
  readonly #read = new Map<string, Read>();

  constructor(client: Pick<KubeClient, "find">, maxAgeMs: number = SECRET_MAX_AGE_MS) {
    this.#client = client;
    this.#maxAgeMs = maxAgeMs;
  }

  /** What an adapter's spec asks for. Throws what the API server does, but for "not found" and "forbidden". */
  async forAdapter(namespace: string, spec: ModelAdapterSpec, signal: AbortSignal): Promise<AdapterSecrets> {
    const { credentialsSecretRef: storage, apiKeySecretRef: key } = spec;
    let credentials: Record<string, string> | undefined;
    let credentialsHosts: readonly string[] | undefined;
    let apiKey: string | undefined = spec.additionalConfig?.[CONFIG_API_KEY];
    const versions: string[] = [];
    if (storage !== undefined) {
      const secret = await this.#get(namespace, storage.name, signal);
      if (secret === undefined)
        return missing(`the Secret ${storage.name} of credentialsSecretRef does not exist in the namespace ${namespace}: create it`);
      credentials = known(decoded(secret));
      if (Object.keys(credentials).length === 0)
        return missing(`the Secret ${storage.name} of credentialsSecretRef has no key that is read (${KNOWN.join(", ")}): name them so`);
      const annotation = secret.metadata.annotations?.[ANNOTATION_ALLOWED_HOSTS];
      const hosts = annotation === undefined ? undefined : hostsOf(annotation);
      if (typeof hosts === "string") return missing(`the annotation ${ANNOTATION_ALLOWED_HOSTS} of the Secret ${storage.name}: ${hosts}`);
      credentialsHosts = hosts;
      versions.push(`${secret.metadata.uid}/${secret.metadata.resourceVersion}`);
    }
    if (key !== undefined) {
      const secret = await this.#get(namespace, key.name, signal);
      if (secret === undefined)
        return missing(`the Secret ${key.name} of apiKeySecretRef does not exist in the namespace ${namespace}: create it`);
      apiKey = decoded(secret)[key.key]?.trim();
      if (!apiKey) return missing(`the Secret ${key.name} has no key ${key.key}, which apiKeySecretRef names: add it`);
      versions.push(`${secret.metadata.uid}/${secret.metadata.resourceVersion}`);
    }
    return { kind: "ok", credentials, credentialsHosts, apiKey, version: versions.join(" ") };
  }

  async #get(namespace: string, name: string, signal: AbortSignal): Promise<Secret | undefined> {
    const key = `${namespace}/${name}`;
    const nowMs = performance.now();
    const known = this.#read.get(key);
    if (known !== undefined && nowMs - known.atMs < this.#maxAgeMs) return known.secret;
    for (const [k, { atMs }] of this.#read) if (nowMs - atMs > this.#maxAgeMs) this.#read.delete(k);
    const secret = await this.#find(namespace, name, signal);
    // What is missing may be made any moment: it is looked for again at the next turn.
    if (secret !== undefined) this.#read.set(key, { atMs: nowMs, secret });
    return secret;
  }

  async #find(namespace: string, name: string, signal: AbortSignal): Promise<Secret | undefined> {
    try {
      return await this.#client.find(SECRETS, { namespace, name }, signal);
    } catch (error) {
      if (error instanceof KubeError && error.status === 403) return undefined;
      throw error;
    }
  }
}

const KNOWN: readonly string[] = Object.values(SECRET_KEYS);

/** What the sidecar reads, under the names that it knows; in upper case, as environment variables have them, they count too. Nothing else leaves the cluster's API. */
function known(data: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    KNOWN.flatMap((key) => {
      const value = data[key] ?? data[key.toUpperCase()];
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

function decoded(secret: Secret): Record<string, string> {
  return Object.fromEntries(Object.entries(secret.data ?? {}).map(([k, v]) => [k, Buffer.from(v, "base64").toString("utf8")]));
}

/** The hosts of the annotation, or what is wrong with it. */
function hostsOf(annotation: string): readonly string[] | string {
  try {
    return allowedHosts(annotation);
  } catch (error) {
    if (error instanceof BadHostsError) return error.message;
    throw error;
  }
}

function missing(message: string): AdapterSecrets {
  return { kind: "missing", message };
}
