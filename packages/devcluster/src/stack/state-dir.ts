import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The places inside a state folder (`.aibrix`). */
export interface StateDir {
  readonly root: string;
  /** What the stack offers; there only while everything is ready. */
  readonly stackFile: string;
  /** Which processes run; there while a supervisor lives, and after one was killed. */
  readonly runFile: string;
  readonly logs: string;
  /** Artifacts, the local Hub's and S3's files: kept when the stack stops. */
  readonly data: string;
  /** Configuration files of the parts, written anew at every start. */
  readonly config: string;
  /** What a Kubernetes cluster keeps: its kubeconfig, and what it must find again to remove itself. */
  readonly cluster: string;
  /** Programs for the user's PATH: `kubectl`. */
  readonly bin: string;
}

/** @param root - absolute path */
export function stateDir(root: string): StateDir {
  return {
    root,
    stackFile: join(root, "stack.json"),
    runFile: join(root, "run.json"),
    logs: join(root, "logs"),
    data: join(root, "data"),
    config: join(root, "config"),
    cluster: join(root, "cluster"),
    bin: join(root, "bin"),
  };
}

/** Log file of a part. */
export function logFile(dir: StateDir, part: string): string {
  return join(dir.logs, `${part}.log`);
}

/** `kubectl` for the user's PATH. */
export function kubectlLink(dir: StateDir): string {
  return join(dir.bin, "kubectl");
}

/** Creates the folder and those in it, readable by this user alone: it holds credentials of the local S3 server. */
export function createStateDir(dir: StateDir): void {
  for (const path of [dir.root, dir.logs, dir.data, dir.config]) mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Creates the folders of a cluster, which {@link createStateDir} leaves out. */
export function createClusterDirs(dir: StateDir): void {
  for (const path of [dir.cluster, dir.bin]) mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Replaces a file in one step: a reader sees the old or the new content, never a part. Mode 0600. */
export function writeFileAtomic(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    writeFileSync(temporary, text, { mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

export function writeJsonAtomic(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Reads a JSON file; `undefined` where there is none, or no JSON in it. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}
