import { AdapterError } from "../../errors.ts";
import { CONFIG_FILE } from "./select.ts";

/** More than any adapter_config.json: one with a rank for each expert of a large model has less than 1 MB. */
export const MAX_CONFIG_BYTES = 8 * 1024 * 1024;

/** What adapter_config.json says, as far as it decides about a load. */
export interface AdapterConfig {
  /** `r`. */
  readonly rank: number;
  /** Ranks that `rank_pattern` gives to some modules. */
  readonly patternRanks: readonly number[];
  /** `base_model_name_or_path`. */
  readonly baseModel: string | undefined;
}

/** Ways to begin training that leave the base model's weights as they are; after any other, the adapter fits a changed base only. */
const PLAIN_INITS = ["gaussian", "eva", "orthogonal", "mica", "lora_ga"];
/** Modules that a classification model may have been saved with. */
const CLASSIFICATION_HEADS = ["classifier", "score"];

type Fields = Readonly<Record<string, unknown>>;

/**
 * What vLLM refuses for a field of the configuration (0.32, each seen on a running engine), and why. A field that is not here is the engine's affair.
 * A row gives the sentence for a value that is refused.
 */
const FEATURES: readonly ((c: Fields) => string | undefined)[] = [
  ({ use_dora: v }) => (truthy(v) ? "uses DoRA, which the engine does not support: train it with use_dora=False" : undefined),
  ({ bias: v }) =>
    v === undefined || v === "none"
      ? undefined
      : `trains biases (bias ${brief(v)}), which the engine does not support: train it with bias="none"`,
  ({ lora_bias: v }) =>
    truthy(v) ? "has biases on its LoRA layers (lora_bias), which the engine does not support: train it with lora_bias=False" : undefined,
  ({ modules_to_save: v }) => {
    const others = Array.isArray(v) ? v.filter((m) => !CLASSIFICATION_HEADS.includes(m as string)) : truthy(v) ? [v] : [];
    return others.length === 0
      ? undefined
      : `replaces whole modules (modules_to_save: ${others.slice(0, 3).map(brief).join(", ")}), which the engine does not support: train it without, or merge it into its base model`;
  },
  ({ init_lora_weights: v }) =>
    typeof v === "string" && !PLAIN_INITS.includes(v.toLowerCase())
      ? `was trained with init_lora_weights ${brief(v)}, which changes the base model's weights: convert it (PEFT: save_pretrained(..., path_initial_model_for_weight_conversion=...)), or set the field to true where the engine serves that changed base`
      : undefined,
  ({ alora_invocation_tokens: v }) =>
    truthy(v) ? "is an Activated LoRA (alora_invocation_tokens), which the engine does not support" : undefined,
  ({ layer_replication: v }) => (truthy(v) ? "repeats layers (layer_replication), which the engine does not support" : undefined),
  ({ use_bdlora: v }) => (truthy(v) ? "is block-diagonal (use_bdlora), which the engine does not support" : undefined),
  ({ use_qalora: v }) => (truthy(v) ? "uses QALoRA, which the engine does not support" : undefined),
];

/**
 * Reads adapter_config.json.
 *
 * @throws AdapterError `ArtifactInvalid` for one that no engine can use
 */
export function parseConfig(text: string): AdapterConfig {
  const config = parseObject(text);
  const { r, lora_alpha: alpha, peft_type: type, rank_pattern: pattern, base_model_name_or_path: baseModel } = config;
  if (type !== undefined && type !== null && !(typeof type === "string" && type.toUpperCase() === "LORA"))
    throw invalid(`has peft_type ${brief(type)}: only LORA adapters can be loaded`);
  if (!isRank(r)) throw invalid(`has no rank: "r" must be a whole number of 1 or more, it is ${brief(r)}`);
  if (typeof alpha !== "number")
    throw invalid(`has no scale: "lora_alpha" must be a number, it is ${brief(alpha)}; add the value that the adapter was trained with`);
  if (!Object.hasOwn(config, "target_modules"))
    throw invalid('does not say what it changes: "target_modules" is missing; add the names of the modules that it was trained on');
  const patternRanks = readPattern(pattern);
  const problem = FEATURES.map((feature) => feature(config)).find((p) => p !== undefined);
  if (problem !== undefined) throw invalid(`says that the adapter ${problem}`);
  return { rank: r, patternRanks, baseModel: typeof baseModel === "string" && baseModel !== "" ? baseModel : undefined };
}

function parseObject(text: string): Fields {
  let config: unknown;
  try {
    config = parseJson(text);
  } catch {
    throw invalid("is not JSON: upload the file again");
  }
  if (config === null || typeof config !== "object" || Array.isArray(config)) throw invalid("is not an object: write what PEFT saved");
  return config as Fields;
}

/** Python writes and reads numbers that JSON does not know; one of those is no reason to refuse what an engine takes. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(text.replaceAll(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (token) => (token.startsWith('"') ? token : "null")));
  }
}

function readPattern(pattern: unknown): readonly number[] {
  if (!truthy(pattern)) return [];
  if (typeof pattern !== "object" || Array.isArray(pattern)) throw invalid(`has a rank_pattern that is no object: it is ${brief(pattern)}`);
  return Object.entries(pattern as object).map(([key, rank]: [string, unknown]) => {
    if (!isRank(rank)) throw invalid(`has a rank_pattern in which ${brief(key)} is ${brief(rank)}: write a whole number of 1 or more`);
    return rank;
  });
}

function isRank(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

/** As Python has it: an empty list or object is as good as none. */
function truthy(value: unknown): boolean {
  if (value === null || typeof value !== "object") return Boolean(value);
  return (Array.isArray(value) ? value : Object.keys(value)).length > 0;
}

/** A value for a message: short, on one line, and without looking into what may be nested without end. */
export function brief(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "string") return JSON.stringify(value.length > 120 ? `${value.slice(0, 119)}…` : value);
  if (value !== null && typeof value === "object") return Array.isArray(value) ? "a list" : "an object";
  return String(value);
}

function invalid(message: string): AdapterError {
  return new AdapterError("ArtifactInvalid", `${CONFIG_FILE} ${message}`);
}
