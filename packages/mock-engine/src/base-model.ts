import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What the engine knows of its base model. Without a local directory it knows nothing and checks no shapes. */
export interface BaseModel {
  /** Largest prompt and answer together, in tokens. */
  readonly maxModelLen: number | undefined;
  /** Width of input and output of each module that can be adapted, by the last part of its name. */
  readonly widths: ReadonlyMap<string, { readonly input: number; readonly output: number }>;
}

/** Modules that can be adapted in the decoder-only models that this engine stands in for, in the order of vLLM's message. */
export const TARGET_MODULES: readonly string[] = ["v_proj", "q_proj", "o_proj", "gate_proj", "down_proj", "k_proj", "up_proj"];

/** Reads config.json of a local model directory. A missing or unreadable one gives a model without known sizes. */
export async function readBaseModel(model: string): Promise<BaseModel> {
  const config = await readFile(join(model, "config.json"), "utf8")
    .then((text) => JSON.parse(text) as Record<string, unknown>)
    .catch(() => ({}) as Record<string, unknown>);
  const number = (key: string): number | undefined => (typeof config[key] === "number" ? config[key] : undefined);
  const hidden = number("hidden_size");
  const maxModelLen = number("max_position_embeddings");
  if (hidden === undefined) return { maxModelLen, widths: new Map() };
  const heads = number("num_attention_heads") ?? 1;
  const headWidth = number("head_dim") ?? Math.floor(hidden / heads);
  const query = heads * headWidth;
  const keyValue = (number("num_key_value_heads") ?? heads) * headWidth;
  const inner = number("intermediate_size") ?? Number.POSITIVE_INFINITY;
  const widths = {
    q_proj: { input: hidden, output: query },
    k_proj: { input: hidden, output: keyValue },
    v_proj: { input: hidden, output: keyValue },
    o_proj: { input: query, output: hidden },
    gate_proj: { input: hidden, output: inner },
    up_proj: { input: hidden, output: inner },
    down_proj: { input: inner, output: hidden },
  };
  return { maxModelLen, widths: new Map(Object.entries(widths)) };
}
