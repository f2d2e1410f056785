import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureVersitygw } from "@aibrix/devcluster";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { vi } from "vitest";
import { end, freePort } from "./process.ts";

/** A real S3 server over a folder. */
export interface S3 {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Credentials as a Secret holds them. */
  readonly secret: Readonly<Record<string, string>>;
  readonly put: (bucket: string, key: string, body: Buffer, checksum?: "SHA256") => Promise<void>;
  readonly putFolder: (bucket: string, prefix: string, folder: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startS3(dir: string): Promise<S3> {
  const { bin } = await ensureVersitygw({ log: () => undefined, signal: new AbortController().signal });
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const accessKeyId = "testing";
  const secretAccessKey = "testing-secret-key";
  for (const name of ["data", "iam"]) mkdirSync(join(dir, name), { recursive: true });
  const server = spawn(bin, ["--port", `127.0.0.1:${port}`, "--iam-dir", join(dir, "iam"), "--quiet", "posix", join(dir, "data")], {
    env: { ...process.env, ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
    stdio: "ignore",
  });
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
  await vi.waitFor(() => client.send(new CreateBucketCommand({ Bucket: "models" })), { timeout: 20_000, interval: 50 });
  const put = async (Bucket: string, Key: string, Body: Buffer, ChecksumAlgorithm?: "SHA256") => {
    await client.send(new PutObjectCommand({ Bucket, Key, Body, ...(ChecksumAlgorithm === undefined ? {} : { ChecksumAlgorithm }) }));
  };
  return {
    endpoint,
    accessKeyId,
    secretAccessKey,
    secret: { aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey, aws_endpoint_url: endpoint },
    put,
    putFolder: async (bucket, prefix, folder) => {
      for (const name of await readdir(folder)) await put(bucket, `${prefix}/${name}`, await readFile(join(folder, name)));
    },
    close: async () => {
      client.destroy();
      await end(server);
    },
  };
}
