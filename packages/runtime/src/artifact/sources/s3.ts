import type { Readable } from "node:stream";
import { SECRET_KEYS } from "@aibrix/api";
import { GetObjectCommand, ListObjectsV2Command, S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { AdapterError, messageOf, networkCode } from "../../errors.ts";
import type { ByteRange, Credentials, Listing, RemoteFile, Source } from "./source.ts";

/** A bound for prefixes that are no adapter: 20 pages of 1,000 objects. */
const MAX_PAGES = 20;

/** Names of S3 errors that mean the credentials, by Amazon's list of error codes; other servers use the same. */
const DENIED =
  /^(AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired|AccountProblem|AllAccessDisabled|Forbidden|403)$/;

/** Objects under a prefix of a bucket, in Amazon S3 or a server that speaks its protocol. */
export class S3Source implements Source {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #endpoint: string;

  /** @param env - read for what the Secret does not say: `AWS_ENDPOINT_URL[_S3]`, `AWS_REGION`, and what the SDK's default chain reads itself */
  constructor(artifact: { readonly bucket: string; readonly prefix: string }, credentials: Credentials, env: NodeJS.ProcessEnv) {
    const config = s3Config(credentials, env);
    this.#endpoint = typeof config.endpoint === "string" ? config.endpoint : "Amazon S3";
    this.#client = new S3Client(config);
    this.#bucket = artifact.bucket;
    this.#prefix = `${artifact.prefix}/`;
  }

  async list(signal: AbortSignal): Promise<Listing> {
    const files: RemoteFile[] = [];
    let token: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      // The delimiter leaves out what is in folders below: checkpoints, mostly.
      const command = new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: this.#prefix, Delimiter: "/", ContinuationToken: token });
      const answer = await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal);
      for (const { Key = "", Size = 0, ETag = "" } of answer.Contents ?? []) {
        const name = Key.slice(this.#prefix.length);
        if (name !== "" && !name.includes("/")) files.push({ name, sizeBytes: Size, etag: ETag });
      }
      token = answer.IsTruncated === true ? answer.NextContinuationToken : undefined;
      if (token === undefined) break;
    }
    if (files.length === 0)
      throw new AdapterError("ArtifactNotFound", `there are no objects under ${this.#what()} (${this.#endpoint}): check bucket and prefix`);
    return { files };
  }

  async read(_listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable> {
    const condition = {
      ...(file.etag === "" ? {} : { IfMatch: file.etag }),
      ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` }),
    };
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: `${this.#prefix}${file.name}`, ...condition });
    const { Body } = await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal);
    if (Body === undefined)
      throw new AdapterError("ArtifactUnavailable", `${this.#endpoint} sent no content for ${this.#what()}${file.name}`);
    return Body as Readable;
  }

  close(): void {
    this.#client.destroy();
  }

  async #ask<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (signal.aborted) throw error;
      throw this.#explain(error);
    }
  }

  #explain(error: unknown): AdapterError {
    const name = error instanceof Error ? error.name : "";
    const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
    const at = `(${this.#endpoint})`;
    if (name === "CredentialsProviderError")
      return new AdapterError(
        "ArtifactDenied",
        `no AWS credentials for ${this.#what()}: set credentialsSecretRef to a Secret with ${SECRET_KEYS.awsAccessKeyId} and ${SECRET_KEYS.awsSecretAccessKey}, or give the runtime AWS_* variables or a role`,
        { cause: error },
      );
    if (name === "NoSuchBucket")
      return new AdapterError("ArtifactNotFound", `bucket "${this.#bucket}" does not exist ${at}: check the artifactURL and the endpoint`);
    if (status === 412) return new AdapterError("ArtifactUnavailable", `${this.#what()} changed while it was read: it is read again`);
    if (DENIED.test(name) || status === 401 || status === 403)
      return new AdapterError(
        "ArtifactDenied",
        `${this.#endpoint} refused the credentials for ${this.#what()} (${name || status}): check the keys, and that they may list the bucket and read its objects`,
        { cause: error },
      );
    if (status === 404) return new AdapterError("ArtifactNotFound", `${this.#what()} does not exist ${at}: check the artifactURL`);
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
    const answered = status === undefined ? "does not answer" : `answered HTTP ${status}`;
    return new AdapterError(
      "ArtifactUnavailable",
      `${this.#endpoint} ${answered} for ${this.#what()} (${networkCode(error) ?? messageOf(error).slice(0, 200)}): check the endpoint; it is tried again`,
      { retryable: status === undefined || status >= 500 || status === 429 || status === 408, cause: error },
    );
  }

  #what(): string {
    return `s3://${this.#bucket}/${this.#prefix}`;
  }
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
    requestHandler: { connectionTimeout: 10_000 },
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(region === undefined ? {} : { region }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) } }),
  };
}
