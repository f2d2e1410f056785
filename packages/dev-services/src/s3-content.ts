import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fillBucket, S3_BUCKET, type StackS3, writeS3Files } from "@aibrix/devcluster";
import {
  aborted,
  ConfigError,
  deadline,
  type Flag,
  helpText,
  Registry,
  readBindAddress,
  readFlags,
  sideServer,
  sleep,
} from "@aibrix/service";
import type { Command } from "./command.ts";

const FLAGS = {
  endpoint: { type: "string", value: "URL", default: "http://127.0.0.1:7070", help: "The S3 server." },
  region: { type: "string", value: "NAME", default: "us-east-1", help: "Its region." },
  bucket: { type: "string", value: "NAME", default: S3_BUCKET, help: "The bucket, made where it is not there." },
  "wait-seconds": { type: "string", value: "N", default: "120", help: "How long to wait for the server's first answer." },
  "health-probe-bind-address": {
    type: "string",
    value: "ADDRESS",
    default: ":8081",
    help: "Where /healthz and /readyz answer; ready once all is uploaded. 0 for nowhere.",
  },
} as const satisfies Record<string, Flag>;

const USAGE = `Usage: aibrix_dev_services s3-content [flags]

Waits for an S3 server, puts a tiny adapter into a bucket, and goes on running, so that it can stand beside the server in a pod.
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment are the server's credentials.`;

const ASK_WITHIN_MS = 2_000;
const ASK_AGAIN_MS = 200;

/** Fills the S3 server of a cluster for development. */
export const S3_CONTENT: Command = {
  help: helpText(USAGE, FLAGS),
  run: async (argv, signal, log) => {
    const flags = readFlags(FLAGS, argv);
    if (flags === undefined) return false;
    const { s3, waitMs } = readSettings(flags, process.env);
    const address = readBindAddress("health-probe-bind-address", flags["health-probe-bind-address"]);
    let missing: string | undefined = "the bucket is not filled yet";
    const health = sideServer({ metrics: new Registry(), notReady: () => missing });
    if (address !== undefined) await health.listen(address);
    try {
      await untilAnswers(s3.endpoint, waitMs, signal);
      await upload(s3, signal);
      missing = undefined;
      log.info({ endpoint: s3.endpoint, bucket: s3.bucket }, "the bucket is filled");
      await aborted(signal);
    } catch (error) {
      // Asked to end meanwhile: that is no failure.
      if (!signal.aborted) throw error;
    } finally {
      await health.close();
    }
    return true;
  },
};

interface Flags {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly "wait-seconds": string;
}

function readSettings(flags: Flags, env: NodeJS.ProcessEnv): { readonly s3: StackS3; readonly waitMs: number } {
  const problems: string[] = [];
  const waitSeconds = Number(flags["wait-seconds"]);
  const { AWS_ACCESS_KEY_ID: accessKeyId = "", AWS_SECRET_ACCESS_KEY: secretAccessKey = "" } = env;
  if (!URL.canParse(flags.endpoint)) problems.push(`--endpoint=${flags.endpoint}: write a URL such as http://127.0.0.1:7070`);
  if (!Number.isInteger(waitSeconds) || waitSeconds < 1)
    problems.push(`--wait-seconds=${flags["wait-seconds"]}: write a whole number of at least 1`);
  if (accessKeyId === "" || secretAccessKey === "")
    problems.push("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set: give the S3 server's credentials by them");
  if (problems.length > 0) throw new ConfigError(problems.join("\n"));
  const { endpoint, region, bucket } = flags;
  return { s3: { endpoint, region, bucket, accessKeyId, secretAccessKey }, waitMs: waitSeconds * 1000 };
}

/** Waits for any answer at all: without credentials a server refuses, but it is there. */
async function untilAnswers(endpoint: string, waitMs: number, signal: AbortSignal): Promise<void> {
  const limit = deadline(waitMs, signal);
  let last: unknown;
  while (!limit.aborted) {
    try {
      const answer = await fetch(endpoint, { signal: deadline(ASK_WITHIN_MS, limit) });
      await answer.body?.cancel();
      return;
    } catch (error) {
      last = error instanceof Error ? (error.cause ?? error) : error;
    }
    await sleep(ASK_AGAIN_MS, limit);
  }
  signal.throwIfAborted();
  throw new Error(`no S3 server answered at ${endpoint} within ${waitMs / 1000} s: see whether it runs, or give --endpoint`, {
    cause: last,
  });
}

async function upload(s3: StackS3, signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "s3-content-"));
  try {
    await writeS3Files(folder);
    await fillBucket(s3, folder, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
