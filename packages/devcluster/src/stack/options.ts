import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { type ClusterOptions, isForCluster, readClusterOptions } from "./cluster-options.ts";
import { UsageError } from "./errors.ts";
import { type Bases, httpUrl, integer, list, oneOf, path, text } from "./flag-values.ts";
import { COMMANDS, DEFAULTS, readFlags, type Values } from "./flags.ts";

/** What `start` was asked for, checked. All paths are absolute. */
export type StartOptions = StandaloneOptions | ClusterOptions;

/** A stack of programs on this machine. */
export interface StandaloneOptions {
  readonly mode: "standalone";
  readonly detach: boolean;
  readonly dir: string;
  readonly adapters: string;
  readonly engine: "mock" | "vllm" | "external";
  /** How many engines are started; 0 for external ones. */
  readonly engineCount: number;
  readonly engineUrls: readonly string[];
  readonly engineArgs: readonly string[];
  readonly apiKeyFile: string | undefined;
  readonly s3: boolean;
  readonly hub: string | undefined;
  readonly port: number | undefined;
}

const MAX_ENGINES = 16;

/**
 * @returns `undefined` where `--help` was asked for
 * @throws {@link UsageError} that names the flag and what to write instead
 */
export function readStartOptions(argv: readonly string[], bases: Bases): StartOptions | undefined {
  const values = readFlags(COMMANDS.start, argv);
  if (values === undefined) return undefined;
  if (isForCluster(values)) return readClusterOptions(values, readDir(values, bases), bases);
  const engineUrls = list(values, "engine-url").map(engineUrl);
  const engine = oneOf("engine", text(values, "engine") ?? DEFAULTS.engine, ["mock", "vllm"]);
  const engineArgs = list(values, "engine-arg");
  const keyFile = text(values, "api-key-file");
  const apiKeyFile = keyFile === undefined ? undefined : resolve(bases.cwd, keyFile);
  if (engineUrls.length > 0) refuseWithUrls(values);
  refuseKeyArgument(engineArgs);
  if (apiKeyFile !== undefined) readApiKey(apiKeyFile);
  const hub = text(values, "hub");
  return {
    mode: "standalone",
    detach: values.detach === true,
    dir: readDir(values, bases),
    adapters: folder(path(values, "adapters", DEFAULTS.adapters, bases)),
    engine: engineUrls.length > 0 ? "external" : engine,
    engineCount: engineUrls.length > 0 ? 0 : integer("engines", text(values, "engines") ?? DEFAULTS.engines, 1, MAX_ENGINES),
    engineUrls,
    engineArgs,
    apiKeyFile,
    s3: values.s3 === true,
    hub: hub === undefined ? undefined : httpUrl("hub", hub),
    port: values.port === undefined ? undefined : integer("port", text(values, "port") ?? "", 1, 65_535),
  };
}

/** The `--dir` of any command, absolute. */
export function readDir(values: Values, bases: Bases): string {
  return path(values, "dir", DEFAULTS.dir, bases);
}

/**
 * The engines' key: the file's text without blanks around it.
 * @throws {@link UsageError} where the file cannot be read or holds no single word. The message never holds the text.
 */
export function readApiKey(file: string): string {
  let key: string;
  try {
    key = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new UsageError(`--api-key-file=${file} cannot be read (${(error as NodeJS.ErrnoException).code}): write the key into that file`);
  }
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new UsageError(`--api-key-file=${file} must hold the key and nothing else: one word of printable ASCII`);
  return key;
}

function refuseWithUrls(values: Values): void {
  const clash = ["engine", "engines", "engine-arg", "api-key-file"].find((name) => values[name] !== undefined);
  if (clash !== undefined) {
    throw new UsageError(`--engine-url uses engines that run already, so --${clash} has nothing to act on: leave one of them out`);
  }
}

/** Process arguments are open to every user of the machine. */
function refuseKeyArgument(engineArgs: readonly string[]): void {
  if (engineArgs.some((a) => /^--api[-_]key(=|$)/.test(a))) {
    throw new UsageError(
      "--engine-arg=--api-key would show the key in the process list: write the key into a file and give --api-key-file=FILE",
    );
  }
}

function engineUrl(value: string): string {
  return httpUrl("engine-url", value).replace(/\/v1$/, "");
}

function folder(value: string): string {
  if (!(statSync(value, { throwIfNoEntry: false })?.isDirectory() === true)) {
    throw new UsageError(`--adapters=${value} is no folder: create it (it may be empty), or name the one that holds your manifests`);
  }
  return value;
}
