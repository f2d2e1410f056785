import { join } from "node:path";
import { cacheRoot } from "./cache.ts";

/** How a vLLM on a CPU serves a small model with adapters. */
export interface VllmServeOptions {
  /** The program `vllm`. */
  readonly bin: string;
  readonly modelDir: string;
  readonly servedModelName: string;
  readonly port: number;
  /** Address to listen on, 127.0.0.1 by default. */
  readonly host?: string;
  /** Adapters in one batch, 2 by default. */
  readonly maxLoras?: number;
  /** Adapters kept in memory, 3 by default. */
  readonly maxCpuLoras?: number;
  readonly maxLoraRank?: number;
  /** Whether adapters can be loaded and unloaded while it serves, true by default. */
  readonly runtimeUpdating?: boolean;
  /** Longest prompt plus answer in tokens, 2048 by default. */
  readonly maxModelLen?: number;
  /** The key that clients must send. It goes by the environment, so that no process list shows it. */
  readonly apiKey?: string;
  /** The Hub that the engine itself fetches from; without one it stays offline. */
  readonly hubUrl?: string;
  /** Where the engine keeps what it fetched from the Hub, and its settings. What it learns of models is kept in this machine's cache folder then. */
  readonly cacheDir?: string;
  /** More flags of `vllm serve`. */
  readonly extraArgs?: readonly string[];
}

/** A program to start. `env` is added to the environment. */
export interface ServeCommand {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** Bytes of the key-value cache: 8,192 tokens of the tiny model. Set in bytes, since the default takes a share of the machine's memory. */
const KV_CACHE_BYTES = 4 * 1024 * 1024;

/** Flags that make a small model start fast and in little memory. */
export const SMALL_MODEL_FLAGS: readonly (readonly [string, ...(string | number)[]])[] = [
  // No graph capture: it costs minutes at start and gains nothing for a model of this size.
  ["--enforce-eager"],
  ["--dtype", "float32"],
  ["--max-num-seqs", 8],
  ["--kv-cache-memory-bytes", KV_CACHE_BYTES],
];

/** What vLLM on a CPU finds in its environment. */
export const CPU_ENVIRONMENT: Readonly<Record<string, string>> = {
  VLLM_TARGET_DEVICE: "cpu",
  VLLM_NO_USAGE_STATS: "1",
  DO_NOT_TRACK: "1",
  // One thread, bound to no core: several engines share a small machine, and the tiny model needs no more.
  OMP_NUM_THREADS: "1",
  VLLM_CPU_OMP_THREADS_BIND: "nobind",
  // The engine is its own worker: a worker of its own would import all of vLLM once more at start, and spin on a queue to the engine later.
  // In a container that queue would not fit either: it takes 400 MiB, and a pod's /dev/shm has 64.
  VLLM_ENABLE_V1_MULTIPROCESSING: "0",
};

/** The flags about adapters and length, with their defaults. */
export function loraFlags(
  options: Pick<VllmServeOptions, "maxLoras" | "maxCpuLoras" | "maxLoraRank" | "maxModelLen">,
): readonly (readonly [string, number])[] {
  return [
    ["--max-loras", options.maxLoras ?? 2],
    ["--max-cpu-loras", options.maxCpuLoras ?? 3],
    ["--max-lora-rank", options.maxLoraRank ?? 8],
    ["--max-model-len", options.maxModelLen ?? 2048],
  ];
}

/** The command line and environment of `vllm serve` on a CPU. About 20 s of CPU time to its first answer, 1.2 GB of memory. */
export function vllmServeCommand(options: VllmServeOptions): ServeCommand {
  const flags: readonly (readonly [string, ...(string | number)[]])[] = [
    ["--served-model-name", options.servedModelName],
    ["--host", options.host ?? "127.0.0.1"],
    ["--port", options.port],
    ...loraFlags(options),
    ...SMALL_MODEL_FLAGS,
  ];
  return {
    argv: [options.bin, "serve", options.modelDir, "--enable-lora", ...flags.flat().map(String), ...(options.extraArgs ?? [])],
    env: {
      ...CPU_ENVIRONMENT,
      ...((options.runtimeUpdating ?? true) ? { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True" } : {}),
      ...(options.hubUrl === undefined ? { HF_HUB_OFFLINE: "1" } : { HF_ENDPOINT: options.hubUrl }),
      ...(options.cacheDir === undefined
        ? {}
        : {
            HF_HOME: `${options.cacheDir}/huggingface`,
            // One for all engines: what it says of a model's class takes another import of vLLM where it is not written down there yet.
            VLLM_CACHE_ROOT: join(cacheRoot(), "vllm-caches"),
            VLLM_CONFIG_ROOT: `${options.cacheDir}/vllm-config`,
          }),
      ...(options.apiKey === undefined ? {} : { VLLM_API_KEY: options.apiKey }),
    },
  };
}
