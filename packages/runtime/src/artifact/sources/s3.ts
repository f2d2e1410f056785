import type { Readable } from "node:stream";
import { SECRET_KEYS } from "@aibrix/api";
import {
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import pLimit from "p-limit";
import { type Egress, guardRefusal } from "../../egress/egress.ts";
import { AdapterError, certificateProblem, messageOf, networkCode } from "../../errors.ts";
import { checkRecipient, type Secret } from "./credentials.ts";
import { checkPaths } from "./names.ts";
import { EgressHandler } from "./s3-handler.ts";
import {
  type ByteRange,
  type Credentials,
  type Listing,
  MAX_PAGES,
  NoRanges,
  type RemoteFile,
  type Source,
  SourceChanged,
  type StatedDigest,
  tooLong,
} from "./source.ts";
import { clip, isPassing } from "./web.ts";

/** Objects that are asked for their checksums at once. */
const PARALLEL_HEADS = 8;

/** Names of S3 errors that mean the credentials, by Amazon's list of error codes; other servers use the same. */
const DENIED =
  /^(AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired|AccountProblem|AllAccessDisabled|Forbidden|403)$/;

/** Names of errors by which a server says that a signature is of another time than its own. */
const SKEWED = /^(RequestTimeTooSkewed|RequestExpired|RequestInTheFuture)$/;

/** Names of errors of Amazon's token service, which exchanges a pod's identity for keys: it refused that. */
const DENIED_IDENTITY = /^(ExpiredToken|IDPRejectedClaim|InvalidIdentityToken)(Exception)?$/;

/** Objects under a prefix of a bucket, in Amazon S3 or a server that speaks its protocol. */
export class S3Source implements Source {
  readonly #client: S3Client;
  readonly #bucket: string;
  /** Names of the listed files that have a SHA256 checksum. */
  readonly #hashed = new Set<string>();
  readonly #prefix: string;
  /** For messages. */
  #endpoint: string;
  readonly #mayBeOfProfile: boolean;
  /** The runtime's credentials count, not those of a Secret. */
  readonly #ownIdentity: boolean;
  readonly #nested: boolean;

  /**
   * @param env - read for what the Secret does not say: `AWS_ENDPOINT_URL[_S3]`, `AWS_REGION`, and what the SDK's default chain reads itself
   * @param nested - list what is in folders, too
   * @throws AdapterError where the Secret cannot be used, or not at this endpoint
   */
  constructor(
    artifact: { readonly bucket: string; readonly prefix: string },
    secret: Secret,
    env: NodeJS.ProcessEnv,
    egress: Egress,
    nested = false,
  ) {
    const config = s3Config(secret.keys, env);
    this.#bucket = artifact.bucket;
    this.#prefix = `${artifact.prefix}/`;
    this.#nested = nested;
    const endpoint = typeof config.endpoint === "string" ? endpointUrl(config.endpoint, endpointName(secret.keys, env)) : undefined;
    this.#endpoint = endpoint?.origin ?? "Amazon S3";
    if (endpoint !== undefined) {
      egress.check(endpoint);
      if (config.credentials !== undefined) checkRecipient(secret, endpoint, true);
      else if (!egress.isOwn(endpoint) && !isAmazonS3(endpoint)) throw this.#noCredentials();
    }
    // Keys of the Secret go to the Secret's endpoint, the runtime's own to the runtime's, both to Amazon.
    const checkSigned = async (url: URL) =>
      config.credentials === undefined
        ? checkRecipient({ keys: {} }, url, isAmazonS3(url) || isAmazonSts(url) || egress.isOwn(url) || (await this.#isOfProfile(url)))
        : checkRecipient(secret, url, isAmazonS3(url) || url.host === endpoint?.host);
    this.#client = new S3Client({ ...config, requestHandler: new EgressHandler(egress, checkSigned) });
    this.#mayBeOfProfile = endpoint === undefined;
    this.#ownIdentity = config.credentials === undefined;
  }

  /** Whether the SDK found this endpoint in the operator's AWS profile (`endpoint_url`); it may put the bucket before the host's name. */
  async #isOfProfile(url: URL): Promise<boolean> {
    const text = this.#mayBeOfProfile ? await this.#client.config.serviceConfiguredEndpoint?.() : undefined;
    if (text === undefined || !URL.canParse(text)) return false;
    const found = new URL(text);
    this.#endpoint = found.origin;
    return found.protocol === url.protocol && [found.host, `${this.#bucket}.${found.host}`].includes(url.host);
  }

  async list(signal: AbortSignal): Promise<Listing> {
    const files: RemoteFile[] = [];
    let token: string | undefined;
    let entries = 0;
    for (let page = 0; page === 0 || token !== undefined; page += 1) {
      if (page === MAX_PAGES) throw tooLong(this.#what(), { entries, files: files.length });
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix,
        // It leaves out what is in folders below: of an adapter checkpoints, mostly.
        ...(this.#nested ? {} : { Delimiter: "/" }),
        ContinuationToken: token,
      });
      const answer = await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal);
      for (const { Key = "", Size = 0, ETag = "", ChecksumAlgorithm = [] } of answer.Contents ?? []) {
        const name = Key.slice(this.#prefix.length);
        if (!this.#counts(name)) continue;
        files.push({ name, sizeBytes: Size, etag: ETag });
        if (ChecksumAlgorithm.includes("SHA256")) this.#hashed.add(name);
      }
      entries += (answer.Contents ?? []).length + (answer.CommonPrefixes ?? []).length;
      token = answer.IsTruncated === true ? answer.NextContinuationToken : undefined;
    }
    if (files.length === 0)
      throw new AdapterError("ArtifactNotFound", `there are no objects under ${this.#what()} (${this.#endpoint}): check bucket and prefix`);
    if (this.#nested) checkPaths(files, this.#what());
    return { files };
  }

  async versions(signal: AbortSignal): Promise<readonly RemoteFile[]> {
    const files: RemoteFile[] = [];
    let next: { readonly KeyMarker?: string | undefined; readonly VersionIdMarker?: string | undefined } | undefined = {};
    for (let page = 0; page < MAX_PAGES && next !== undefined; page += 1) {
      const command: ListObjectVersionsCommand = new ListObjectVersionsCommand({
        Bucket: this.#bucket,
        Prefix: this.#prefix,
        ...(this.#nested ? {} : { Delimiter: "/" }),
        ...next,
      });
      const answer = await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal);
      for (const { Key = "", Size = 0, ETag = "", VersionId, IsLatest = false, ChecksumAlgorithm = [] } of answer.Versions ?? []) {
        const name = Key.slice(this.#prefix.length);
        if (!this.#counts(name)) continue;
        // The latest one needs no right to read versions.
        files.push({ name, sizeBytes: Size, etag: ETag, ...(IsLatest || VersionId === undefined ? {} : { version: VersionId }) });
        if (ChecksumAlgorithm.includes("SHA256")) this.#hashed.add(name);
      }
      next = answer.IsTruncated === true ? { KeyMarker: answer.NextKeyMarker, VersionIdMarker: answer.NextVersionIdMarker } : undefined;
    }
    return files;
  }

  async describe(files: readonly RemoteFile[], signal: AbortSignal): Promise<readonly RemoteFile[]> {
    const limit = pLimit(PARALLEL_HEADS);
    return await Promise.all(files.map((f) => (this.#hashed.has(f.name) ? limit(() => this.#withHash(f, signal)) : f)));
  }

  /** A key that ends in a slash marks a folder. */
  #counts(name: string): boolean {
    return this.#nested ? name !== "" && !name.endsWith("/") : /^[^/]+$/.test(name);
  }

  /** A listing says only of which kind an object's checksums are. */
  async #withHash(file: RemoteFile, signal: AbortSignal): Promise<RemoteFile> {
    const command = new HeadObjectCommand({ ...this.#object(file), ChecksumMode: "ENABLED" });
    const { ChecksumSHA256: sum = "", ETag } = await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal);
    if (ETag !== undefined && ETag !== file.etag) throw this.#changed();
    // That of a multipart upload is a hash over hashes of its parts, with their number behind.
    const bytes = Buffer.from(sum, "base64");
    return bytes.length === 32 && !sum.includes("-") ? { ...file, sha256: bytes.toString("hex") } : file;
  }

  async read(_listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable> {
    const condition = {
      ...(file.etag === "" ? {} : { IfMatch: file.etag }),
      ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` }),
    };
    const command = new GetObjectCommand({ ...this.#object(file), ...condition });
    const { Body, ETag, ContentRange = "" } = await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal);
    if (Body === undefined)
      throw new AdapterError("ArtifactUnavailable", `${this.#endpoint} sent no content for ${this.#what()}${file.name}`);
    const body = Body as Readable;
    // For servers that do not know conditions, or ranges.
    const wrong =
      file.etag !== "" && ETag !== undefined && ETag !== file.etag
        ? this.#changed()
        : range !== undefined && !ContentRange.startsWith(`bytes ${range.start}-${range.end - 1}/`)
          ? new NoRanges(`${this.#endpoint} does not give parts of objects for ${this.#what()}${file.name}`)
          : undefined;
    if (wrong === undefined) return body;
    body.destroy();
    throw wrong;
  }

  async digests(file: RemoteFile, signal: AbortSignal): Promise<readonly StatedDigest[]> {
    const condition = file.etag === "" ? {} : { IfMatch: file.etag };
    const command = new HeadObjectCommand({ ...this.#object(file), ChecksumMode: "ENABLED", ...condition });
    try {
      return statedDigests(await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal), this.#bucket);
    } catch (error) {
      // What may pass is asked again. All else shows when the object is read, and in better words: a HEAD's answer has none.
      if (signal.aborted || !(error instanceof AdapterError) || error.retryable) throw error;
      return [];
    }
  }

  close(): void {
    this.#client.destroy();
  }

  #object({ name, version }: RemoteFile): { readonly Bucket: string; readonly Key: string; readonly VersionId?: string } {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${name}`, ...(version === undefined ? {} : { VersionId: version }) };
  }

  async #ask<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (signal.aborted) throw error;
      throw guardRefusal(error) ?? this.#explain(error);
    }
  }

  #noCredentials(cause?: unknown): AdapterError {
    return new AdapterError(
      "ArtifactDenied",
      `no AWS credentials for ${this.#what()}: set credentialsSecretRef to a Secret with ${SECRET_KEYS.awsAccessKeyId} and ${SECRET_KEYS.awsSecretAccessKey}, or give the runtime AWS_* variables or a role (those go to Amazon and to the runtime's own AWS_ENDPOINT_URL only)`,
      { cause },
    );
  }

  #explain(error: unknown): AdapterError {
    const name = error instanceof Error ? error.name : "";
    const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
    const at = `(${this.#endpoint})`;
    if (name === "CredentialsProviderError") return this.#noCredentials(error);
    if (name === "NoSuchBucket")
      return new AdapterError("ArtifactNotFound", `bucket "${this.#bucket}" does not exist ${at}: check its name and the endpoint`, {
        cause: error,
      });
    if (status === 412) return this.#changed();
    if (SKEWED.test(name))
      return new AdapterError(
        "ArtifactUnavailable",
        `the clocks of ${this.#endpoint} and of this machine differ by too much for ${this.#what()} (${name}): set the one right that is wrong; it is tried again by the server's`,
        // The client has read the server's time from this very answer, and signs the next try by it.
        { cause: error },
      );
    if (this.#ownIdentity && DENIED_IDENTITY.test(name))
      return new AdapterError(
        "ArtifactDenied",
        `the token service refused the identity of the runtime's pod for ${this.#what()} (${name}): check the role in AWS_ROLE_ARN, that it trusts the pod's service account, and the token in AWS_WEB_IDENTITY_TOKEN_FILE`,
        // A token that is mounted is renewed before it expires.
        { retryable: name.startsWith("Expired"), cause: error },
      );
    if (DENIED.test(name) || status === 401 || status === 403)
      return new AdapterError(
        "ArtifactDenied",
        `${this.#endpoint} refused the credentials for ${this.#what()} (${name || status}): check the keys, and that they may list the bucket and read its objects`,
        { cause: error },
      );
    if (status === 404)
      return new AdapterError("ArtifactNotFound", `${this.#what()} does not exist ${at}: check bucket and prefix`, { cause: error });
    if (name === "PermanentRedirect" || status === 301)
      return new AdapterError(
        "ArtifactUnavailable",
        `bucket "${this.#bucket}" is in another region: set ${SECRET_KEYS.awsRegion} in the Secret, or AWS_REGION`,
        {
          retryable: false,
        },
      );
    if (/Region is missing/.test(messageOf(error)))
      return new AdapterError(
        "ArtifactUnavailable",
        `no region for ${this.#what()}: set ${SECRET_KEYS.awsRegion} in the Secret, or AWS_REGION`,
        {
          retryable: false,
        },
      );
    const untrusted = certificateProblem(error);
    if (untrusted !== undefined)
      return new AdapterError(
        "ArtifactUnavailable",
        `${this.#endpoint} is not trusted for ${this.#what()} (${untrusted}); it is tried again`,
        { cause: error },
      );
    const answered = status === undefined ? "does not answer" : `answered HTTP ${status}`;
    const retryable = status === undefined || isPassing(status);
    return new AdapterError(
      "ArtifactUnavailable",
      `${this.#endpoint} ${answered} for ${this.#what()} (${networkCode(error) ?? clip(messageOf(error))}): check the endpoint${retryable ? "; it is tried again" : ""}`,
      { retryable, cause: error },
    );
  }

  #changed(): SourceChanged {
    return new SourceChanged(`${this.#what()} changed while it was read: it is listed and read again`);
  }

  #what(): string {
    return `s3://${this.#bucket}/${this.#prefix}`;
  }
}

/** A region and the domain of a partition, at the end of a host's name. Below the same domains are hosts of Amazon's customers, too. */
const REGION_AND_DOMAIN = "(\\.[a-z]{2,4}(-[a-z]+)+-[0-9]+)?(\\.vpce)?\\.(amazonaws\\.com(\\.cn)?|amazonaws\\.eu|api\\.aws)$";
/** Hosts of S3: of all kinds of endpoints (FIPS, dual stack, acceleration, VPC, access points, express), with a bucket before them or without. */
const AMAZON_S3 = new RegExp(`^([^/]+\\.)?s3(express)?(-(?!website)[a-z0-9-]+)?(\\.dualstack)?${REGION_AND_DOMAIN}`);
/** Where the SDK exchanges a profile's credentials for those of a role. */
const AMAZON_STS = new RegExp(`^sts(-fips)?${REGION_AND_DOMAIN}`);

export function isAmazonS3(url: URL): boolean {
  return url.protocol === "https:" && AMAZON_S3.test(url.hostname);
}

function isAmazonSts(url: URL): boolean {
  return url.protocol === "https:" && AMAZON_STS.test(url.hostname);
}

/** Who says which endpoint it is. */
function endpointName(credentials: Credentials, env: NodeJS.ProcessEnv): string {
  if (credentials[SECRET_KEYS.awsEndpointUrl]) return `${SECRET_KEYS.awsEndpointUrl} in the Secret`;
  return env.AWS_ENDPOINT_URL_S3 ? "AWS_ENDPOINT_URL_S3" : "AWS_ENDPOINT_URL";
}

/** @throws AdapterError for what is no URL, or has a password in it: an endpoint is shown to everybody */
function endpointUrl(text: string, name: string): URL {
  const url = /^https?:\/\//.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  const problem =
    url === undefined
      ? `${name} is no URL: write for example https://minio.example.com:9000`
      : url.username !== "" || url.password !== ""
        ? `${name} holds a user name or a password, which everybody could read: write the endpoint without them, and the keys into ${SECRET_KEYS.awsAccessKeyId} and ${SECRET_KEYS.awsSecretAccessKey} of a Secret`
        : undefined;
  if (url === undefined || problem !== undefined) throw new AdapterError("ArtifactUnavailable", problem ?? "", { retryable: false });
  return url;
}

/**
 * What an object's head says of its content. A checksum counts where it is one over the whole object, and the ETag where Amazon says that it is
 * the MD5: uploaded in one part, not encrypted with keys of KMS or of the customer, not in a directory bucket.
 */
export function statedDigests(head: Partial<HeadObjectCommandOutput>, bucket: string): readonly StatedDigest[] {
  const found: StatedDigest[] = [];
  const whole = head.ChecksumType !== "COMPOSITE";
  const add = (algorithm: StatedDigest["algorithm"], base64: string | undefined, bytes: number) => {
    // A checksum of parts ends in a hyphen and their number, where a server does not say COMPOSITE.
    const raw = base64 === undefined || !/^[A-Za-z0-9+/]+=*$/.test(base64) ? Buffer.alloc(0) : Buffer.from(base64, "base64");
    if (whole && raw.length === bytes) found.push({ algorithm, hex: raw.toString("hex") });
  };
  add("sha256", head.ChecksumSHA256, 32);
  add("sha1", head.ChecksumSHA1, 20);
  add("crc32", head.ChecksumCRC32, 4);
  const md5 = /^"?([0-9a-f]{32})"?$/.exec(head.ETag ?? "")?.[1];
  // AES256 is Amazon's own encryption, which every object has that nobody asked another one for.
  const plain =
    (head.ServerSideEncryption ?? "AES256") === "AES256" && head.SSECustomerAlgorithm === undefined && !bucket.endsWith("--x-s3");
  if (found.length === 0 && md5 !== undefined && plain) found.push({ algorithm: "md5", hex: md5 });
  // The others count where there is nothing else, as for an upload in parts.
  if (found.length === 0) add("crc64nvme", head.ChecksumCRC64NVME, 8);
  if (found.length === 0) add("crc32c", head.ChecksumCRC32C, 4);
  return found;
}

/**
 * Settings of the S3 client: the Secret's, else the environment's, else the SDK's default chain (profiles, web identity, instance roles).
 *
 * @throws AdapterError `ArtifactDenied` for a Secret with half a key
 */
export function s3Config(credentials: Credentials, env: NodeJS.ProcessEnv): S3ClientConfig {
  const accessKeyId = credentials[SECRET_KEYS.awsAccessKeyId];
  const secretAccessKey = credentials[SECRET_KEYS.awsSecretAccessKey];
  const sessionToken = credentials[SECRET_KEYS.awsSessionToken];
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined))
    throw new AdapterError(
      "ArtifactDenied",
      `the Secret has only one of ${SECRET_KEYS.awsAccessKeyId} and ${SECRET_KEYS.awsSecretAccessKey}: write both`,
    );
  const endpoint = credentials[SECRET_KEYS.awsEndpointUrl] || env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined;
  // Servers other than Amazon's mostly do not care; us-east-1 is what their documentation writes.
  const region =
    credentials[SECRET_KEYS.awsRegion] || env.AWS_REGION || env.AWS_DEFAULT_REGION || (endpoint === undefined ? undefined : "us-east-1");
  return {
    // Retries are the caller's, one place for every source.
    maxAttempts: 1,
    followRegionRedirects: endpoint === undefined,
    // Whole files are checked when they are here, against what the head says, in ranges or not.
    responseChecksumValidation: "WHEN_REQUIRED",
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(region === undefined ? {} : { region }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) } }),
  };
}
