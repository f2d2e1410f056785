import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { PythonClients } from "@aibrix/devcluster";
import { runMeasured, type Taken } from "./measured.ts";
import type { S3Server, Server } from "./servers.ts";

/* Other clients, each by its own defaults. */

const TIMEOUT_MS = 300_000;
const PART_BYTES = 16 * 2 ** 20;
const CURL_PARALLEL = 8;

/** Brings an adapter into a folder. */
export type Download = (dir: string) => Promise<Taken>;

export function s5cmd(bin: string, s3: S3Server, prefix: string): Download {
  return (dir) => runMeasured([bin, "cp", `s3://models/${prefix}/*`, `${dir}/`], s3.env, TIMEOUT_MS);
}

/** Copies a folder into the bucket. */
export async function upload(bin: string, s3: S3Server, dir: string, prefix: string): Promise<void> {
  await runMeasured([bin, "cp", `${dir}/*`, `s3://models/${prefix}/`], s3.env, TIMEOUT_MS);
}

export function awsCli({ bin, path }: PythonClients, s3: S3Server, prefix: string): Download {
  const argv = [bin, "-m", "awscli", "s3", "cp", "--recursive", "--quiet", `s3://models/${prefix}/`] as const;
  return (dir) => runMeasured([...argv, dir], { ...s3.env, PYTHONPATH: path }, TIMEOUT_MS);
}

/** Parallel requests for parts of the weights alone, each into a file of its own. */
export function curl(s3: S3Server, prefix: string, sizeBytes: number): Download {
  const url = `${s3.url}/models/${prefix}/adapter_model.safetensors`;
  const { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret } = s3.env;
  const sign = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", `${key}:${secret}`, "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"];
  return (dir) => {
    const parts = Array.from({ length: Math.ceil(sizeBytes / PART_BYTES) }, (_, i) => {
      const range = `${i * PART_BYTES}-${Math.min(sizeBytes, (i + 1) * PART_BYTES) - 1}`;
      return ["--fail", ...sign, "--range", range, "--output", join(dir, `part-${i}`), url];
    });
    const all = parts.flatMap((part, i) => (i === 0 ? part : ["--next", ...part]));
    return runMeasured(["curl", "--silent", "--parallel", "--parallel-max", String(CURL_PARALLEL), ...all], {}, TIMEOUT_MS);
  };
}

const SNAPSHOT = `
import sys, time
from huggingface_hub import snapshot_download
start = time.monotonic()
snapshot_download("bench/big", cache_dir=sys.argv[1])
print(f"seconds={time.monotonic() - start}")
`;

/** Python's client of the Hub; without the interpreter's start and the imports. */
export function huggingfaceHub({ bin, path }: PythonClients, hub: Server): Download {
  return async (dir) => {
    await mkdir(dir, { recursive: true });
    const env = { PYTHONPATH: path, HF_ENDPOINT: hub.url, HF_HOME: dir, HF_HUB_DISABLE_TELEMETRY: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1" };
    return await runMeasured([bin, "-c", SNAPSHOT, dir], env, TIMEOUT_MS);
  };
}
