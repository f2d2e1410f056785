import { expect, test } from "vitest";
import type { AdapterFacts } from "./adapter.ts";
import { baseModel } from "./base-model.ts";
import { checkFit, doubts, type EngineFacts } from "./fit.ts";

const SIZES = { hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1 };
const base = (architecture: string) => baseModel({ architectures: [architecture], ...SIZES });
const QWEN2 = base("Qwen2ForCausalLM");
const LLAMA = base("LlamaForCausalLM");

function facts(path: string, sizes: readonly [number, number], rank = 8): AdapterFacts {
  const modules = [{ path, a: [rank, sizes[0]], b: [sizes[1], rank] }];
  return { config: { rank, patternRanks: [], baseModel: undefined }, maxRank: rank, modules, dtypes: ["F32"], tensors: 2 };
}
function fit(adapter: AdapterFacts, engine: Partial<EngineFacts>): string {
  try {
    checkFit(adapter, { maxLoraRank: undefined, base: undefined, ...engine });
    return "fits";
  } catch (error) {
    return `${(error as { reason?: string }).reason}: ${(error as Error).message}`;
  }
}
const Q = "model.layers.0.self_attn.q_proj";

test.each([
  { name: "a rank up to the limit", adapter: facts(Q, [64, 64], 16), engine: { maxLoraRank: 16 } },
  { name: "any rank where no limit is known", adapter: facts(Q, [64, 64], 512), engine: {} },
  { name: "the right sizes", adapter: facts("model.layers.1.mlp.down_proj", [128, 64]), engine: { base: QWEN2 } },
  { name: "any size where the model is not known", adapter: facts(Q, [4096, 4096]), engine: {} },
  { name: "names as of another model around this one", adapter: facts(`language_model.${Q}`, [4096, 4096]), engine: { base: QWEN2 } },
  { name: "embeddings in an architecture that lets them", adapter: facts("lm_head", [64, 512]), engine: { base: LLAMA } },
  { name: "experts, which are the engine's affair", adapter: facts("model.layers.0.mlp.experts.w1", [1, 1]), engine: { base: QWEN2 } },
])("takes $name", ({ adapter, engine }) => {
  expect(fit(adapter, engine)).toBe("fits");
});

test.each([
  {
    name: "a rank above the limit",
    adapter: facts(Q, [64, 64], 17),
    engine: { maxLoraRank: 16 },
    says: /rank 17, the engine takes 16 at most: .*--max-lora-rank 32/,
  },
  {
    name: "more inputs",
    adapter: facts(Q, [128, 64]),
    engine: { base: QWEN2 },
    says: /base model of another size: .*q_proj" has 64 inputs and 64 outputs in the engine/,
  },
  // vLLM takes this, and answers with wrong text: it copies what there is into a corner of the layer.
  { name: "fewer inputs", adapter: facts(Q, [32, 64]), engine: { base: QWEN2 }, says: /base model of another size/ },
  { name: "fewer outputs", adapter: facts(Q, [64, 32]), engine: { base: QWEN2 }, says: /base model of another size/ },
  {
    name: "a layer that is not there",
    adapter: facts("model.layers.2.self_attn.q_proj", [64, 64]),
    engine: { base: QWEN2 },
    says: /layer 2 of its base model, the engine's has layers 0 to 1/,
  },
  {
    name: "embeddings in an architecture that does not let them",
    adapter: facts("lm_head", [64, 512]),
    engine: { base: QWEN2 },
    says: /"lm_head", which the engine lets no adapter change in Qwen2ForCausalLM/,
  },
  {
    name: "modules of another architecture",
    adapter: facts("transformer.h.0.attn.c_attn", [64, 192]),
    engine: { base: LLAMA },
    says: /c_attn", which the engine lets no adapter change/,
  },
])("refuses $name", ({ adapter, engine, says }) => {
  const answer = fit(adapter, engine);
  expect(answer).toMatch(/^ArtifactUnfit: /);
  expect(answer).toMatch(says);
});

test("doubts", () => {
  const engine = { maxLoraRank: undefined, base: QWEN2 };
  expect(doubts(facts(Q, [64, 64]), engine)).toEqual([]);
  expect(doubts({ ...facts(Q, [64, 64]), dtypes: ["BF16", "F8_E4M3"] }, engine)).toEqual([expect.stringContaining("F8_E4M3")]);
  expect(doubts(facts(`language_model.${Q}`, [64, 64]), engine)).toEqual([expect.stringContaining("has a place in Qwen2ForCausalLM")]);
});
