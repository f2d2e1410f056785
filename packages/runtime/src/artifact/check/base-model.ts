import { readFile, stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import type { EngineModel } from "../../engine/engine.ts";

/** More than any model's config.json. */
const MAX_CONFIG_BYTES = 1024 * 1024;

/** What is known of a base model's layers. */
export interface BaseModel {
  readonly architecture: string;
  readonly layers: number;
  /** Whether adapters may change its embeddings. */
  readonly embeddings: boolean;
  /** Inputs and outputs of its projections, by name; one whose size is not known for sure is `undefined`. */
  readonly projections: ReadonlyMap<string, readonly [inputs: number, outputs: number] | undefined>;
}

/**
 * Architectures whose layers are named and sized alike. `embeddings`: whether vLLM lets adapters change them (0.32, by its model classes).
 * `headDim`: where a configuration leaves out `head_dim`, whether it is the hidden size by the heads.
 */
const ARCHITECTURES: ReadonlyMap<string, { readonly embeddings: boolean; readonly headDim: boolean }> = new Map([
  ["LlamaForCausalLM", { embeddings: true, headDim: true }],
  ["MistralForCausalLM", { embeddings: false, headDim: true }],
  ["Qwen2ForCausalLM", { embeddings: false, headDim: true }],
  ["Qwen3ForCausalLM", { embeddings: true, headDim: false }],
  ["GemmaForCausalLM", { embeddings: false, headDim: false }],
  ["Gemma2ForCausalLM", { embeddings: false, headDim: false }],
  ["Gemma3ForCausalLM", { embeddings: false, headDim: false }],
]);

/**
 * The layers of the model that a config.json describes. Pure.
 *
 * @returns `undefined` for an architecture that is not known here, or a configuration that lacks something: the engine decides then
 */
export function baseModel(config: unknown): BaseModel | undefined {
  const c = (config ?? {}) as Readonly<Record<string, unknown>>;
  const architecture = Array.isArray(c.architectures) && c.architectures.length === 1 ? String(c.architectures[0]) : "";
  const known = ARCHITECTURES.get(architecture);
  const [layers, hidden, intermediate, heads] = [c.num_hidden_layers, c.hidden_size, c.intermediate_size, c.num_attention_heads].map(count);
  if (known === undefined || layers === undefined || hidden === undefined || heads === undefined) return undefined;
  const keyValueHeads = c.num_key_value_heads === undefined || c.num_key_value_heads === null ? heads : count(c.num_key_value_heads);
  const headDim = headDimension(c.head_dim, known.headDim && hidden % heads === 0 ? hidden / heads : undefined, architecture);
  const query = headDim === undefined ? undefined : heads * headDim;
  const keyValue = headDim === undefined || keyValueHeads === undefined ? undefined : keyValueHeads * headDim;
  const size = (inputs: number | undefined, outputs: number | undefined) =>
    inputs === undefined || outputs === undefined ? undefined : ([inputs, outputs] as const);
  return {
    architecture,
    layers,
    embeddings: known.embeddings,
    projections: new Map([
      ["q_proj", size(hidden, query)],
      ["k_proj", size(hidden, keyValue)],
      ["v_proj", size(hidden, keyValue)],
      ["o_proj", size(query, hidden)],
      ["gate_proj", size(hidden, intermediate)],
      ["up_proj", size(hidden, intermediate)],
      ["down_proj", size(intermediate, hidden)],
    ]),
  };
}

/** vLLM's Qwen2 passes over `head_dim`; where it is another than what follows from the rest, nothing is known for sure. */
function headDimension(stated: unknown, derived: number | undefined, architecture: string): number | undefined {
  if (stated === undefined || stated === null) return derived;
  return architecture === "Qwen2ForCausalLM" && stated !== derived ? undefined : count(stated);
}

/**
 * Reads the base model's configuration where the engine's list names a folder that this container sees, too.
 *
 * @returns `undefined` where it is not to be had, which is no error
 */
export async function readBaseModel(models: Iterable<EngineModel>): Promise<BaseModel | undefined> {
  const root = [...models].find((m) => m.parent === undefined)?.root;
  if (root === undefined || !isAbsolute(root)) return undefined;
  const path = join(root, "config.json");
  try {
    const info = await stat(path);
    if (!info.isFile() || info.size > MAX_CONFIG_BYTES) return undefined;
    return baseModel(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined;
  }
}

/**
 * A warning where an adapter was trained on another model than the engine serves, as far as names tell: only repositories of the Hub are
 * compared, and only with one, or with a folder that is called like one. Pure.
 */
export function baseModelWarning(trainedOn: string | undefined, models: Iterable<EngineModel>): string | undefined {
  const repo = /^[\w.-]+\/([\w.-]+)$/.exec(trainedOn ?? "");
  if (repo === null) return undefined;
  const bases = [...models].filter((m) => m.parent === undefined);
  const roots = bases.flatMap((m) => (m.root === undefined ? [] : [m.root]));
  const names = [...bases.map((m) => m.id), ...roots].map(modelName);
  const comparable = roots.some((root) => /^[\w.-]+\/[\w.-]+$/.test(root) || /\/models--[^/]+\//.test(root));
  if (!comparable || names.includes(modelName(repo[1] ?? ""))) return undefined;
  return `warning: the adapter was trained on ${trainedOn}, the engine serves ${roots[0]}`;
}

/** The name of a model in a path, a repository or a folder of the Hub's cache, without regard to how it is written. */
function modelName(text: string): string {
  const cached = /\/models--[^/]*?--([^/]+)\/snapshots\//.exec(text)?.[1];
  const last = cached ?? text.split("/").findLast((part) => part !== "") ?? "";
  return last.toLowerCase().replaceAll(/[._]/g, "-");
}

function count(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : undefined;
}
