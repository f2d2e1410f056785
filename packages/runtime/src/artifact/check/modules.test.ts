import { expect, test } from "vitest";
import { readModules } from "./modules.ts";

const Q = "base_model.model.model.layers.0.self_attn.q_proj";
const MOE = "base_model.model.model.layers.0.mlp.experts";
const CONFIG = { rank: 8, patternRanks: [], baseModel: undefined };
type Row = readonly [name: string, shape: readonly number[], dtype?: string];
const PAIR: readonly Row[] = [
  [`${Q}.lora_A.weight`, [8, 64]],
  [`${Q}.lora_B.weight`, [64, 8]],
];

function check(rows: readonly Row[], config: Parameters<typeof readModules>[1] = CONFIG): string {
  try {
    const tensors = rows.map(([name, shape, dtype = "F32"]) => ({ name, shape, dtype }));
    return readModules(tensors, config, "w.safetensors")
      .map((m) => m.path)
      .join(" ");
  } catch (error) {
    return `${(error as { reason?: string }).reason}: ${(error as Error).message}`;
  }
}
const typed = (dtype: string): readonly Row[] => PAIR.map(([name, shape]) => [name, shape, dtype]);

// Each was taken by a running vLLM 0.32, but for experts, which its tiny model does not have.
test.each<{ name: string; rows: readonly Row[]; want?: string; ranks?: readonly number[] }>([
  { name: "a pair", rows: PAIR },
  { name: "a pair in the other order", rows: PAIR.toReversed() },
  { name: "names without PEFT's prefix", rows: PAIR.map(([n, s]) => [n.replace("base_model.model.", ""), s]) },
  { name: "F16", rows: typed("F16") },
  { name: "BF16", rows: typed("BF16") },
  { name: "F64", rows: typed("F64") },
  { name: "F8, which the engine converts", rows: typed("F8_E4M3") },
  { name: "a type of the future", rows: typed("F12") },
  { name: "a rank of the pattern", rows: PAIR.map(([n, s]) => [n, s.map((d) => (d === 8 ? 16 : d))]), ranks: [4, 16] },
  { name: "the base's embeddings, kept beside", rows: [...PAIR, ["base_model.model.lm_head.base_layer.weight", [512, 64]]] },
  { name: "the head of a classification model", rows: [...PAIR, ["base_model.model.score.weight", [2, 64]]] },
  {
    name: "embeddings",
    rows: [
      ["base_model.model.model.embed_tokens.lora_embedding_A", [8, 512]],
      ["base_model.model.model.embed_tokens.lora_embedding_B", [64, 8]],
    ],
    want: "model.embed_tokens",
  },
  {
    name: "experts in one matrix",
    rows: [
      [`${MOE}.base_layer.lora_A.weight`, [64, 64]],
      [`${MOE}.base_layer.lora_B.weight`, [256, 64]],
      [`${MOE}.lora_A.weight`, [64, 128]],
      [`${MOE}.lora_B.weight`, [64, 64]],
    ],
    want: "model.layers.0.mlp.experts.base_layer model.layers.0.mlp.experts",
  },
  {
    name: "experts that share a half",
    rows: [
      [`${MOE}.w1.lora_A.weight`, [1, 8, 64]],
      [`${MOE}.w1.lora_B.weight`, [16, 128, 8]],
    ],
    want: "model.layers.0.mlp.experts.w1",
  },
])("takes $name", ({ rows, want = "model.layers.0.self_attn.q_proj", ranks = [] }) => {
  expect(check(rows, { ...CONFIG, patternRanks: ranks })).toBe(want);
});

test.each<{ name: string; rows: readonly Row[]; says: string }>([
  { name: "nothing", rows: [], says: "holds no LoRA weights" },
  { name: "something else", rows: [...PAIR, ["foo.bar", [2]]], says: 'no part of a LoRA, "foo.bar": save it with PEFT' },
  { name: "DoRA's magnitudes", rows: [...PAIR, [`${Q}.lora_magnitude_vector`, [64]]], says: "DoRA is not supported" },
  { name: "an adapter's name in the names", rows: [[`${Q}.lora_A.default.weight`, [8, 64]]], says: "saved with the adapter's name in it" },
  { name: "a bias", rows: [...PAIR, [`${Q}.lora_B.bias`, [64]]], says: 'train it with bias="none"' },
  { name: "a whole head", rows: [...PAIR, ["base_model.model.lm_head.weight", [512, 64]]], says: "save_embedding_layers=False" },
  { name: "A without B", rows: PAIR.slice(0, 1), says: 'has only lora_A of "model.layers.0.self_attn.q_proj": the other half is missing' },
  { name: "B without A", rows: PAIR.slice(1), says: "has only lora_B of" },
  { name: "halves of two ranks", rows: [[`${Q}.lora_A.weight`, [4, 64]], PAIR[1] as Row], says: "lora_A [4, 64] and lora_B [64, 8]" },
  {
    name: "another rank than the configuration's",
    rows: PAIR.map(([n, s]) => [n, s.map((d) => (d === 8 ? 4 : d))]),
    says: "has rank 4 for",
  },
  {
    name: "halves that are turned round",
    rows: [
      [`${Q}.lora_A.weight`, [64, 8]],
      [`${Q}.lora_B.weight`, [8, 64]],
    ],
    says: "has rank 64",
  },
  { name: "a vector", rows: [[`${Q}.lora_A.weight`, [512]], PAIR[1] as Row], says: "both must be matrices" },
  { name: "I8", rows: typed("I8"), says: "as I8: save the weights as F32, F16 or BF16" },
  { name: "BOOL", rows: typed("BOOL"), says: "as BOOL" },
])("refuses $name", ({ rows, says }) => {
  const answer = check(rows);
  expect(answer).toMatch(/^ArtifactInvalid: w\.safetensors h(as|olds) /);
  expect(answer).toContain(says);
});
