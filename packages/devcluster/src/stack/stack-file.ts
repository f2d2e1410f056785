import { readJson, type StateDir, writeJsonAtomic } from "./state-dir.ts";

/** One engine and the runtime that feeds it. */
export interface StackEngine {
  readonly url: string;
  readonly runtime: string;
}

/** The local S3 server, with the credentials of its one user. */
export interface StackS3 {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
  readonly region: string;
}

/** `stack.json`: what a running stack offers. There only while everything is ready. */
export interface StackFile {
  readonly mode: "standalone";
  /** What clients talk to: the Envoy in front. */
  readonly gateway: string;
  readonly engine: "mock" | "vllm" | "external";
  readonly engines: readonly StackEngine[];
  readonly s3?: StackS3;
  /** Hub that `huggingface://` artifacts come from. */
  readonly hub: string;
  /** Process numbers by part. */
  readonly pids: Readonly<Record<string, number>>;
}

export function writeStackFile(dir: StateDir, stack: StackFile): void {
  writeJsonAtomic(dir.stackFile, stack);
}

/** Reads `stack.json`; `undefined` where no stack is ready in this folder. */
export function readStackFile(dir: StateDir): StackFile | undefined {
  const value = readJson(dir.stackFile) as Partial<StackFile> | undefined;
  return value?.mode === "standalone" && typeof value.gateway === "string" ? (value as StackFile) : undefined;
}
