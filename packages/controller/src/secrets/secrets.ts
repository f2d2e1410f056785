import { ANNOTATION_ALLOWED_HOSTS, allowedHosts, BadHostsError, CONFIG_API_KEY, type ModelAdapterSpec, SECRET_KEYS } from "@aibrix/api";
import { Deadline, type KubeClient, KubeError, SECRETS, type Secret } from "@aibrix/kube";

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
  /** Nothing is loaded without it. Everything else goes on. */
  | { readonly kind: "missing" | "forbidden" | "unavailable"; readonly message: string };

/** How long a Secret that was read counts as current, in milliseconds. */
export const SECRET_MAX_AGE_MS = 60_000;

/** How long one read may take: an adapter's pods are not looked at meanwhile. */
const READ_TIMEOUT_MS = 5_000;
/** How long the API server is not asked again for a Secret that it did not give, in milliseconds: turns of an adapter may follow each other fast. */
const FAILED_FOR_MS = 3_000;

interface Read {
  readonly atMs: number;
  readonly secret: Secret;
}

/** A Secret that could not be had. The message names it by the field that refers to it. */
class SecretError extends Error {
  override readonly name = "SecretError";
  readonly kind: "missing" | "forbidden" | "unavailable";

  constructor(kind: SecretError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * Reads Secrets by name, and again once what was read is a minute old: they are never listed or watched. While the API server does not give one
 * that was read before, what was read last counts.
 */
export class SecretReader {
  readonly #client: Pick<KubeClient, "find">;
  readonly #maxAgeMs: number;
  readonly #read = new Map<string, Read>();
  readonly #failed = new Map<string, { readonly untilMs: number; readonly text: string }>();

  constructor(client: Pick<KubeClient, "find">, maxAgeMs: number = SECRET_MAX_AGE_MS) {
    this.#client = client;
    this.#maxAgeMs = maxAgeMs;
  }

  /** What an adapter's spec asks for. Rejects only where the signal aborts. */
  async forAdapter(namespace: string, spec: ModelAdapterSpec, signal: AbortSignal): Promise<AdapterSecrets> {
    try {
      return await this.#forAdapter(namespace, spec, signal);
    } catch (error) {
      if (error instanceof SecretError) return { kind: error.kind, message: error.message };
      throw error;
    }
  }

  async #forAdapter(namespace: string, spec: ModelAdapterSpec, signal: AbortSignal): Promise<AdapterSecrets> {
    const { credentialsSecretRef: storage, apiKeySecretRef: key } = spec;
    let credentials: Record<string, string> | undefined;
    let credentialsHosts: readonly string[] | undefined;
    let apiKey: string | undefined = spec.additionalConfig?.[CONFIG_API_KEY];
    const versions: string[] = [];
    if (storage !== undefined) {
      const secret = await this.#get(namespace, storage.name, "credentialsSecretRef", signal);
      credentials = known(decoded(secret));
      if (Object.keys(credentials).length === 0)
        throw missing(`the Secret ${storage.name} of credentialsSecretRef has no key that is read (${KNOWN.join(", ")}): name them so`);
      const annotation = secret.metadata.annotations?.[ANNOTATION_ALLOWED_HOSTS];
      const hosts = annotation === undefined ? undefined : hostsOf(annotation);
      if (typeof hosts === "string") throw missing(`the annotation ${ANNOTATION_ALLOWED_HOSTS} of the Secret ${storage.name}: ${hosts}`);
      credentialsHosts = hosts;
      versions.push(`${secret.metadata.uid}/${secret.metadata.resourceVersion}`);
    }
    if (key !== undefined) {
      const secret = await this.#get(namespace, key.name, "apiKeySecretRef", signal);
      apiKey = decoded(secret)[key.key]?.trim();
      if (!apiKey) throw missing(`the Secret ${key.name} has no key ${key.key}, which apiKeySecretRef names: add it`);
      versions.push(`${secret.metadata.uid}/${secret.metadata.resourceVersion}`);
    }
    return { kind: "ok", credentials, credentialsHosts, apiKey, version: versions.join(" ") };
  }

  async #get(namespace: string, name: string, field: string, signal: AbortSignal): Promise<Secret> {
    const key = `${namespace}/${name}`;
    const nowMs = performance.now();
    const known = this.#read.get(key);
    if (known !== undefined && nowMs - known.atMs < this.#maxAgeMs) return known.secret;
    const failed = this.#failed.get(key);
    if (failed !== undefined && nowMs < failed.untilMs) {
      if (known !== undefined) return known.secret;
      throw unavailable(namespace, name, field, failed.text);
    }
    try {
      using deadline = new Deadline(signal).set(READ_TIMEOUT_MS, "no answer in time");
      const secret = await this.#client.find(SECRETS, { namespace, name }, deadline.signal);
      // What others read long ago is not in use any more.
      for (const [k, { atMs }] of this.#read) if (nowMs - atMs > 2 * this.#maxAgeMs) this.#read.delete(k);
      this.#failed.delete(key);
      // What is missing may be made any moment: it is looked for again at the next turn.
      if (secret === undefined) this.#read.delete(key);
      else this.#read.set(key, { atMs: nowMs, secret });
      if (secret === undefined) throw missing(`the Secret ${name} of ${field} does not exist in the namespace ${namespace}: create it`);
      return secret;
    } catch (error) {
      if (error instanceof SecretError) throw error;
      if (signal.aborted) throw signal.reason;
      if (error instanceof KubeError && error.status === 403) {
        this.#read.delete(key);
        throw new SecretError(
          "forbidden",
          `the controller may not read the Secret ${name} of ${field} in the namespace ${namespace}: apply the controller's RBAC (deploy/rbac) again`,
        );
      }
      const text = error instanceof Error ? error.message : String(error);
      for (const [k, { untilMs }] of this.#failed) if (untilMs < nowMs) this.#failed.delete(k);
      this.#failed.set(key, { untilMs: performance.now() + FAILED_FOR_MS, text });
      if (known !== undefined) return known.secret;
      throw unavailable(namespace, name, field, text);
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

function missing(message: string): SecretError {
  return new SecretError("missing", message);
}

function unavailable(namespace: string, name: string, field: string, text: string): SecretError {
  return new SecretError(
    "unavailable",
    `the API server does not give the Secret ${name} of ${field} in the namespace ${namespace} (${text}): it is asked again; look into the API server's health`,
  );
}
