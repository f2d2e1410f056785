import { PassThrough, type Readable } from "node:stream";
import { SECRET_KEYS } from "@aibrix/api";
import { type Bucket, type FileMetadata, Storage } from "@google-cloud/storage";
import { GoogleAuth, JWT } from "google-auth-library";
import { endpointUrl } from "../../egress/allowed.ts";
import { AdapterError, certificateProblem, messageOf, networkCode } from "../../errors.ts";
import { checkRecipient, type Secret } from "./credentials.ts";
import { checkPaths } from "./names.ts";
import {
  type ByteRange,
  type Credentials,
  type Listing,
  MAX_PAGES,
  NoRanges,
  type RemoteFile,
  type Source,
  SourceChanged,
  tooLong,
} from "./source.ts";
import { clip, isPassing } from "./web.ts";

const PAGE_SIZE = 1_000;
/** All that is done here. */
const SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";
const DEFAULT_ENDPOINT = "https://storage.googleapis.com";

interface Entries {
  readonly files: readonly RemoteFile[];
  /** Objects and folders that were listed. */
  readonly entries: number;
  /** There are no more pages. */
  readonly isWhole: boolean;
}

/**
 * Objects under a prefix of a bucket in Google Cloud Storage.
 *
 * Google's client speaks over connections of its own, proxies included. It needs no guard: every URL that it asks is Google's or the
 * operator's (`STORAGE_EMULATOR_HOST`), and of a service account's JSON only the key is taken, never a URL.
 */
export class GcsSource implements Source {
  readonly #bucket: Bucket;
  readonly #prefix: string;
  readonly #endpoint: string;
  readonly #nested: boolean;

  /**
   * @param env - `STORAGE_EMULATOR_HOST`; what Google's default chain reads (`GOOGLE_APPLICATION_CREDENTIALS`) it reads itself
   * @param nested - list what is in folders, too
   * @throws AdapterError where the Secret cannot be used, or not at Google
   */
  constructor(artifact: { readonly bucket: string; readonly prefix: string }, secret: Secret, env: NodeJS.ProcessEnv, nested = false) {
    const emulator = env.STORAGE_EMULATOR_HOST ? endpointUrl(env.STORAGE_EMULATOR_HOST)?.origin : undefined;
    this.#endpoint = emulator ?? DEFAULT_ENDPOINT;
    const account = serviceAccount(secret.keys);
    if (account !== undefined && emulator === undefined) checkRecipient(secret, new URL(DEFAULT_ENDPOINT), true);
    const storage = new Storage({
      apiEndpoint: this.#endpoint,
      // Retries are the caller's, one place for every source.
      retryOptions: { autoRetry: false, maxRetries: 0 },
      // The client asks a project for nothing that we do, and would look for one otherwise.
      projectId: "unused",
      // Its own would ask for the right to write, too.
      authClient: account === undefined ? new GoogleAuth({ scopes: [SCOPE] }) : new JWT({ ...account, scopes: [SCOPE] }),
    });
    // The variable alone makes the client leave out this path.
    storage.baseUrl = `${this.#endpoint}/storage/v1`;
    this.#bucket = storage.bucket(artifact.bucket);
    this.#prefix = `${artifact.prefix}/`;
    this.#nested = nested;
  }

  async list(signal: AbortSignal): Promise<Listing> {
    const { files, entries, isWhole } = await this.#entries(false, signal);
    if (!isWhole) throw tooLong(this.#what(), { entries, files: files.length });
    if (files.length === 0)
      throw new AdapterError("ArtifactNotFound", `there are no objects under ${this.#what()} (${this.#endpoint}): check bucket and prefix`);
    if (this.#nested) checkPaths(files, this.#what());
    return { files };
  }

  async versions(signal: AbortSignal): Promise<readonly RemoteFile[]> {
    return (await this.#entries(true, signal)).files;
  }

  /** @param versions - former generations, too, of a bucket that keeps them */
  async #entries(versions: boolean, signal: AbortSignal): Promise<Entries> {
    const files: RemoteFile[] = [];
    let pageToken: string | undefined;
    let entries = 0;
    for (let page = 0; page === 0 || pageToken !== undefined; page += 1) {
      if (page === MAX_PAGES) return { files, entries, isWhole: false };
      // The delimiter leaves out what is in folders below: of an adapter checkpoints, mostly.
      const folders = this.#nested ? {} : { delimiter: "/" };
      const query = { prefix: this.#prefix, ...folders, ...(versions ? { versions } : {}), autoPaginate: false, maxResults: PAGE_SIZE };
      const asked = this.#bucket.getFiles(pageToken === undefined ? query : { ...query, pageToken });
      const [found, next, answer] = await this.#explained(asked, signal);
      for (const { name, metadata } of found) {
        const short = name.slice(this.#prefix.length);
        if (short !== "" && (this.#nested ? !short.endsWith("/") : !short.includes("/"))) files.push(remoteFile(short, metadata));
      }
      entries += found.length + ((answer as { readonly prefixes?: readonly string[] } | undefined)?.prefixes ?? []).length;
      pageToken = (next as { readonly pageToken?: string } | null)?.pageToken;
    }
    return { files, entries, isWhole: true };
  }

  async read(_listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable> {
    // A generation is one content of an object, for ever.
    const object = this.#bucket.file(`${this.#prefix}${file.name}`, { generation: file.etag });
    const stream = object.createReadStream({
      decompress: false,
      ...(range === undefined ? { validation: "crc32c" } : { start: range.start, end: range.end - 1, validation: false }),
    });
    const body = new PassThrough();
    const abort = () => stream.destroy(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    stream.once("close", () => signal.removeEventListener("abort", abort));
    body.once("close", () => stream.destroy());
    const began = new Promise<number>((resolve, reject) => {
      stream.once("response", (response: { readonly statusCode?: number }) => resolve(response.statusCode ?? 0));
      stream.on("error", (error) => {
        const told = signal.aborted ? (signal.reason as Error) : this.#explain(error, file);
        reject(told);
        body.destroy(told);
      });
    });
    stream.pipe(body);
    try {
      const status = await began;
      if (range !== undefined && status === 200) {
        stream.destroy();
        throw new NoRanges(`${this.#endpoint} does not give parts of files for ${this.#what()}`);
      }
    } catch (error) {
      body.on("error", () => undefined).destroy();
      throw error;
    }
    return body;
  }

  async #explained<T>(asked: Promise<T>, signal: AbortSignal): Promise<T> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal.reason as Error);
    signal.throwIfAborted();
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([asked, aborted]);
    } catch (error) {
      throw signal.aborted ? error : this.#explain(error);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #explain(error: unknown, file?: RemoteFile): Error {
    const { code } = (error ?? {}) as { readonly code?: unknown };
    const status = typeof code === "number" ? code : Number(/^[1-5]\d\d$/.exec(String(code))?.[0] ?? Number.NaN);
    const text = messageOf(error);
    const keys = `set credentialsSecretRef to a Secret with ${SECRET_KEYS.gcpServiceAccountJson}, or give the runtime a service account of its own`;
    if (code === "CONTENT_DOWNLOAD_MISMATCH")
      return new AdapterError("ArtifactInvalid", `${file?.name} arrived damaged: its crc32c is another one; upload the file again`, {
        retryable: true,
      });
    if (file !== undefined && (status === 404 || status === 412))
      return new SourceChanged(`${this.#what()} changed while it was read: it is read again`);
    if (status === 404)
      return new AdapterError("ArtifactNotFound", `bucket "${this.#bucket.name}" does not exist (${this.#endpoint}): check its name`, {
        cause: error,
      });
    if (/Could not load the default credentials/.test(text))
      return new AdapterError("ArtifactDenied", `no Google credentials for ${this.#what()}: ${keys}`, { cause: error });
    if (status === 401 || status === 403 || /invalid_grant|DECODER|invalid_client/.test(`${text} ${String(code)}`))
      return new AdapterError(
        "ArtifactDenied",
        `${this.#endpoint} refused the credentials for ${this.#what()}: ${keys} that may list the bucket and read its objects (storage.objects.list, storage.objects.get)`,
        { cause: error },
      );
    const untrusted = certificateProblem(error);
    if (untrusted !== undefined)
      return new AdapterError(
        "ArtifactUnavailable",
        `${this.#endpoint} is not trusted for ${this.#what()} (${untrusted}); it is tried again`,
        { cause: error },
      );
    const answered = Number.isNaN(status) ? "does not answer" : `answered HTTP ${status}`;
    return new AdapterError(
      "ArtifactUnavailable",
      `${this.#endpoint} ${answered} for ${this.#what()} (${networkCode(error) ?? clip(text)}): check the network; it is tried again`,
      { retryable: Number.isNaN(status) || isPassing(status), cause: error },
    );
  }

  #what(): string {
    return `gs://${this.#bucket.name}/${this.#prefix}`;
  }
}

/**
 * The key of a service account, and nothing else of its JSON: other kinds of Google's credential files name URLs, files or programs.
 *
 * @throws AdapterError `ArtifactDenied` for JSON that is none
 */
export function serviceAccount(keys: Credentials): { readonly email: string; readonly key: string; readonly keyId?: string } | undefined {
  const text = keys[SECRET_KEYS.gcpServiceAccountJson];
  if (text === undefined) return undefined;
  let json: Record<string, unknown> | null = null;
  try {
    json = JSON.parse(text) as typeof json;
  } catch {
    // Told below; the parser's words would show a part of the key.
  }
  const { type, client_email, private_key, private_key_id, universe_domain = "googleapis.com" } = json ?? ({} as Record<string, unknown>);
  if (type !== "service_account" || typeof client_email !== "string" || typeof private_key !== "string")
    throw new AdapterError(
      "ArtifactDenied",
      `${SECRET_KEYS.gcpServiceAccountJson} is no key of a service account: write the JSON file that Google Cloud gives for one (type service_account, with client_email and private_key)`,
    );
  if (universe_domain !== "googleapis.com")
    throw new AdapterError(
      "ArtifactDenied",
      `${SECRET_KEYS.gcpServiceAccountJson} is of another cloud than googleapis.com, which is not supported`,
    );
  return { email: client_email, key: private_key, ...(typeof private_key_id === "string" ? { keyId: private_key_id } : {}) };
}

/** What an object's entry in a listing says of it. Objects that were composed of others have no MD5, and all have a CRC32C. */
export function remoteFile(name: string, { size, generation, md5Hash, crc32c }: FileMetadata): RemoteFile {
  const hex = (base64: string) => Buffer.from(base64, "base64").toString("hex");
  const stated =
    md5Hash !== undefined
      ? { md5: hex(md5Hash) }
      : crc32c !== undefined
        ? { digests: [{ algorithm: "crc32c" as const, hex: hex(crc32c) }] }
        : {};
  return { name, sizeBytes: Number(size ?? 0), etag: String(generation ?? ""), ...stated };
}
