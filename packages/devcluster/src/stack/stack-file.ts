import type { ClusterKind } from "../cluster/provider.ts";
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
export type StackFile = StandaloneFile | KubernetesFile;

/** A stack of programs on this machine. */
export interface StandaloneFile {
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

/** The platform on a Kubernetes cluster. */
export interface KubernetesFile {
  readonly mode: "kubernetes";
  readonly cluster: ClusterKind;
  /** What clients talk to. */
  readonly gateway: string;
  readonly kubeconfig: string;
  /** The program. */
  readonly kubectl: string;
  /** What answers to `vllm/vllm-openai`. */
  readonly engine: "mock" | "vllm";
  /** Where this machine pushes images for the cluster. */
  readonly registry?: string;
  /** Process numbers by part. */
  readonly pids: Readonly<Record<string, number>>;
}

export function writeStackFile(dir: StateDir, stack: StackFile): void {
  writeJsonAtomic(dir.stackFile, stack);
}

/** Reads `stack.json`; `undefined` where no stack is ready in this folder. */
export function readStackFile(dir: StateDir): StackFile | undefined {
  const value = readJson(dir.stackFile) as Partial<StackFile> | undefined;
  const known = value?.mode === "standalone" || value?.mode === "kubernetes";
  return known && typeof value.gateway === "string" ? (value as StackFile) : undefined;
}
