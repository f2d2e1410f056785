import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Snapshot } from "@aibrix/api";
import type { StandaloneFile } from "@aibrix/devcluster";
import { adapterDigest } from "@aibrix/mock-engine";
import { expect } from "vitest";
import { type CommandResult, cli, ENGINE } from "./cli.ts";
import { dropManifest } from "./manifest.ts";

/** A vLLM on a small machine takes a minute; its first one is installed before. */
const START_MS = ENGINE === "vllm" ? 900_000 : 120_000;

export interface StackOptions {
  /** Manifests that are in the folder from the start, by file name. */
  readonly manifests?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Engines that run already; they replace those of the stack. */
  readonly engineUrls?: readonly string[];
  /** Folders of a stack that was there before, instead of new ones. */
  readonly folder?: string;
}

/** A running stack, started as a user does. */
export class Stack {
  readonly folder: string;
  readonly file: StandaloneFile;
  /** What `start` printed. */
  readonly output: string;

  constructor(folder: string, file: StandaloneFile, output: string) {
    this.folder = folder;
    this.file = file;
    this.output = output;
  }

  get gateway(): string {
    return this.file.gateway;
  }

  get dir(): string {
    return stateFolder(this.folder);
  }

  get adapters(): string {
    return adaptersFolder(this.folder);
  }

  /** What the runtime of an engine says; the first one's by default. */
  async snapshot(engine = 0): Promise<Snapshot> {
    const response = await fetch(`${this.file.engines[engine]?.runtime}/v1/lora_adapters`, { signal: AbortSignal.timeout(5_000) });
    return (await response.json()) as Snapshot;
  }

  /** A repository's folder on the local Hub. */
  hubRepo(repo: string): string {
    return join(this.dir, "data/hub", repo);
  }

  /** What an answer of an adapter of the local Hub names as its weights. */
  digest(repo: string): Promise<string> {
    return adapterDigest(this.hubRepo(repo));
  }

  stop(): Promise<CommandResult> {
    return cli(["stop", "--dir", this.dir]);
  }

  /** Ends it and takes its folder away; for the end of a story. */
  async [Symbol.asyncDispose](): Promise<void> {
    await endAndRemove(this.folder);
  }
}

const stateFolder = (folder: string): string => join(folder, "state");
const adaptersFolder = (folder: string): string => join(folder, "adapters");

/** A new folder for a stack; its adapters folder is there already. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "aibrix-e2e-"));
  mkdirSync(adaptersFolder(folder));
  return folder;
}

/** Runs `start --detach` and gives whatever came of it. */
export function tryStart({ args = [], engineUrls = [] }: StackOptions, folder: string): Promise<CommandResult> {
  const own = engineUrls.length > 0 ? engineUrls.map((url) => `--engine-url=${url}`) : [`--engine=${ENGINE}`];
  return cli(["start", "--detach", "--dir", stateFolder(folder), "--adapters", adaptersFolder(folder), ...own, ...args], START_MS);
}

/** Starts a stack and waits until it is ready. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const folder = options.folder ?? newFolder();
  for (const [name, text] of Object.entries(options.manifests ?? {})) dropManifest(adaptersFolder(folder), name, text);
  try {
    const { code, output } = await tryStart(options, folder);
    expect(code, output).toBe(0);
    return new Stack(folder, JSON.parse(readFileSync(join(stateFolder(folder), "stack.json"), "utf8")) as StandaloneFile, output);
  } catch (error) {
    await endAndRemove(folder);
    throw error;
  }
}

async function endAndRemove(folder: string): Promise<void> {
  await cli(["stop", "--dir", stateFolder(folder)]);
  rmSync(folder, { recursive: true, force: true });
}
