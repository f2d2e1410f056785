import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import type { StackS3 } from "./stack-file.ts";
import { deadline } from "./time.ts";

const UPLOAD_WITHIN_MS = 30_000;

/** Puts a folder's files into the stack's bucket, which is made where it is not there. */
export async function fillBucket(s3: StackS3, folder: string, signal: AbortSignal): Promise<void> {
  // Loaded here: the client takes a second to load, and few who import this file's package fill a bucket.
  const { BucketAlreadyOwnedByYou, CreateBucketCommand, PutObjectCommand, S3Client } = await import("@aws-sdk/client-s3");
  const { endpoint, region, accessKeyId, secretAccessKey, bucket: Bucket } = s3;
  const client = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true });
  const options = { abortSignal: deadline(UPLOAD_WITHIN_MS, signal) };
  try {
    await client.send(new CreateBucketCommand({ Bucket }), options).catch((error: unknown) => {
      if (!(error instanceof BucketAlreadyOwnedByYou)) throw error;
    });
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      await client.send(new PutObjectCommand({ Bucket, Key: relative(folder, path), Body: await readFile(path) }), options);
    }
  } finally {
    client.destroy();
  }
}
