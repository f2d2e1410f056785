import type { ErrorShape } from "./errors.ts";

/** A LoRA adapter that is there from the start (`--lora-modules`). */
export interface LoraModule {
  readonly name: string;
  readonly path: string;
  /** Shown as `parent` if it is one of the served names. */
  readonly baseModelName?: string;
}

/** Where adapters of the form `org/name` come from. */
export interface HubOptions {
  /** For example https://huggingface.co. */
  readonly endpoint: string;
  readonly token?: string;
  /** Never asks the hub; what is in the cache already still works. */
  readonly offline: boolean;
  /** Cache folder, laid out as huggingface_hub does; without it a temporary one that goes with the engine. */
  readonly home?: string;
}

/** What can be changed while the engine runs (`POST /mock/settings`). */
export interface MockSettings {
  /** Wait before each load reads files, in milliseconds. */
  loadDelayMs: number;
  /** Wait before each generated token, in milliseconds. */
  tokenDelayMs: number;
  /** The engine ends with code 1 when an adapter of this name, or with weights of this digest ({@link adapterDigest}), is to be loaded. */
  crashOnLoad: string | null;
  errorShape: ErrorShape;
}

/** Everything that shapes one engine. The flags of the program set the same things. */
export interface EngineOptions {
  /** The base model: a name, or a local directory whose config.json then tells the sizes that adapters must fit. */
  readonly model: string;
  /** Names under which the base model answers; the first one stands in answers. Empty: the name is `model`. */
  readonly servedModelNames: readonly string[];
  readonly enableLora: boolean;
  /** A model that embeds: requests for text have no routes. */
  readonly pooling: boolean;
  /** Distinct adapters that run at a time. */
  readonly maxLoras: number;
  /** Adapters that are kept in memory. At least `maxLoras`. */
  readonly maxCpuLoras: number;
  readonly maxLoraRank: number;
  readonly loraModules: readonly LoraModule[];
  /** Keys of which a request under /v1 must bring one; empty: none is needed. */
  readonly apiKeys: readonly string[];
  /** Tokens of prompt and answer together. Undefined: as the base model's config.json says, else 4096. */
  readonly maxModelLen?: number;
  /** Requests that run at a time. */
  readonly maxNumSeqs: number;
  /** Whether adapters can be loaded and unloaded by request (VLLM_ALLOW_RUNTIME_LORA_UPDATING). */
  readonly allowRuntimeLoraUpdating: boolean;
  readonly hub: HubOptions;
  readonly settings: MockSettings;
  /** From what level on events are logged, as JSON lines on stdout. */
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
}

/** Options for {@link buildEngine}: whatever is absent takes vLLM's default. */
export type EngineInput = Partial<Omit<EngineOptions, "settings" | "hub">> & {
  readonly settings?: Partial<MockSettings>;
  readonly hub?: Partial<HubOptions>;
};

/** vLLM refuses other ranks (`MaxLoRARanks` in vllm/config/lora.py). */
const LORA_RANKS: readonly number[] = [1, 8, 16, 32, 64, 128, 256, 320, 512];

/** The options cannot work together. The message says what to change. */
export class OptionsError extends Error {
  override readonly name = "OptionsError";
}

/**
 * Fills in defaults.
 * @throws OptionsError in vLLM's words when the numbers contradict each other
 */
export function resolveOptions(input: EngineInput): EngineOptions {
  const model = input.model ?? "Qwen/Qwen3-0.6B";
  const maxLoras = input.maxLoras ?? 1;
  const maxCpuLoras = input.maxCpuLoras ?? maxLoras;
  const maxLoraRank = input.maxLoraRank ?? 16;
  if (maxLoras < 1) throw new OptionsError(`max_loras (${maxLoras}) must be >= 1.`);
  if (maxCpuLoras < maxLoras) throw new OptionsError(`max_cpu_loras (${maxCpuLoras}) must be >= max_loras (${maxLoras}).`);
  if (!LORA_RANKS.includes(maxLoraRank)) throw new OptionsError(`max_lora_rank (${maxLoraRank}) must be one of ${LORA_RANKS.join(", ")}.`);
  const names = input.servedModelNames ?? [];
  return {
    model,
    servedModelNames: names.length === 0 ? [model] : names,
    enableLora: input.enableLora ?? false,
    pooling: input.pooling ?? false,
    maxLoras,
    maxCpuLoras,
    maxLoraRank,
    loraModules: input.loraModules ?? [],
    apiKeys: input.apiKeys ?? [],
    ...(input.maxModelLen === undefined ? {} : { maxModelLen: input.maxModelLen }),
    maxNumSeqs: input.maxNumSeqs ?? 256,
    allowRuntimeLoraUpdating: input.allowRuntimeLoraUpdating ?? false,
    hub: { endpoint: "https://huggingface.co", offline: false, ...input.hub },
    settings: { loadDelayMs: 0, tokenDelayMs: 0, crashOnLoad: null, errorShape: "nested", ...input.settings },
    logLevel: input.logLevel ?? "silent",
  };
}
