import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureVersitygw } from "@aibrix/devcluster";
import {
  type ChecksumAlgorithm,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { vi } from "vitest";
import { end, freePort } from "./process.ts";

/** A real S3 server over a folder. */
export interface S3 {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Credentials as a Secret holds them. */
  readonly secret: Readonly<Record<string, string>>;
  readonly put: (bucket: string, key: string, body: Buffer, checksum?: ChecksumAlgorithm) => Promise<void>;
  /** In parts, as big files are: the object's ETag is then no hash of it. A checksum is over the whole object. */
  readonly putParts: (bucket: string, key: string, parts: readonly Buffer[], checksum?: ChecksumAlgorithm) => Promise<void>;
  readonly putFolder: (bucket: string, prefix: string, folder: string) => Promise<void>;
  /** Has a bucket keep former versions from now on. */
  readonly keepVersions: (bucket: string) => Promise<void>;
  /** Removes every object under a prefix; what a bucket keeps of them stays. */
  readonly removeAll: (bucket: string, prefix: string) => Promise<void>;
  /** Removes an object with all that is kept of it. */
  readonly forget: (bucket: string, key: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startS3(dir: string): Promise<S3> {
  const { bin } = await ensureVersitygw({ log: () => undefined, signal: new AbortController().signal });
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const accessKeyId = "testing";
  const secretAccessKey = "testing-secret-key";
  for (const name of ["data", "iam", "versions"]) mkdirSync(join(dir, name), { recursive: true });
  const store = ["posix", "--versioning-dir", join(dir, "versions"), join(dir, "data")];
  const server = spawn(bin, ["--port", `127.0.0.1:${port}`, "--iam-dir", join(dir, "iam"), "--quiet", ...store], {
    env: { ...process.env, ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
    stdio: "ignore",
  });
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    // What a test wants of checksums it says.
    requestChecksumCalculation: "WHEN_REQUIRED",
  });
  await vi.waitFor(() => client.send(new CreateBucketCommand({ Bucket: "models" })), { timeout: 20_000, interval: 50 });
  const put = async (Bucket: string, Key: string, Body: Buffer, algorithm?: ChecksumAlgorithm) => {
    await client.send(new PutObjectCommand({ Bucket, Key, Body, ...(algorithm === undefined ? {} : { ChecksumAlgorithm: algorithm }) }));
  };
  return {
    endpoint,
    accessKeyId,
    secretAccessKey,
    secret: { aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey, aws_endpoint_url: endpoint },
    put,
    putParts: async (Bucket, Key, parts, algorithm) => {
      const summed = algorithm === undefined ? {} : { ChecksumAlgorithm: algorithm };
      const type = algorithm === undefined ? {} : { ChecksumType: "FULL_OBJECT" as const };
      const { UploadId } = await client.send(
        new CreateMultipartUploadCommand({
          Bucket,
          Key,
          ...summed,
          ...type,
        }),
      );
      const Parts: CompletedPart[] = [];
      for (const [i, Body] of parts.entries()) {
        const { ETag, ChecksumCRC32C, ChecksumCRC64NVME } = await client.send(
          new UploadPartCommand({ Bucket, Key, UploadId, Body, PartNumber: i + 1, ...summed }),
        );
        Parts.push({ ETag, ChecksumCRC32C, ChecksumCRC64NVME, PartNumber: i + 1 });
      }
      await client.send(
        new CompleteMultipartUploadCommand({
          Bucket,
          Key,
          UploadId,
          MultipartUpload: { Parts },
          ...type,
        }),
      );
    },
    putFolder: async (bucket, prefix, folder) => {
      for (const name of await readdir(folder)) await put(bucket, `${prefix}/${name}`, await readFile(join(folder, name)));
    },
    keepVersions: async (Bucket) => {
      await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Enabled" } }));
    },
    removeAll: async (Bucket, prefix) => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: `${prefix}/` }));
      for (const { Key } of Contents) await client.send(new DeleteObjectCommand({ Bucket, Key }));
    },
    forget: async (Bucket, key) => {
      const { Versions = [], DeleteMarkers = [] } = await client.send(new ListObjectVersionsCommand({ Bucket, Prefix: key }));
      for (const { Key, VersionId } of [...Versions, ...DeleteMarkers])
        await client.send(new DeleteObjectCommand({ Bucket, Key, VersionId }));
    },
    close: async () => {
      client.destroy();
      await end(server);
    },
  };
}
