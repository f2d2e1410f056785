import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { baseModel, baseModelWarning, readBaseModel } from "./base-model.ts";

const QWEN2 = {
  architectures: ["Qwen2ForCausalLM"],
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
};

const entry = (id: string, root: string | undefined, parent?: string) => ({ id, root, parent, raw: {} });

describe("the layers of a model", () => {
  test("Qwen2", () => {
    const model = baseModel(QWEN2);
    expect(model).toMatchObject({ architecture: "Qwen2ForCausalLM", layers: 2, embeddings: false });
    expect(Object.fromEntries(model?.projections ?? [])).toEqual({
      q_proj: [64, 64],
      k_proj: [64, 32],
      v_proj: [64, 32],
      o_proj: [64, 64],
      gate_proj: [64, 128],
      up_proj: [64, 128],
      down_proj: [128, 64],
    });
  });

  test("heads of a size of their own", () => {
    const model = baseModel({ ...QWEN2, architectures: ["Qwen3ForCausalLM"], head_dim: 128 });
    expect(model?.projections.get("q_proj")).toEqual([64, 256]);
    expect(model?.projections.get("o_proj")).toEqual([256, 64]);
  });

  test.each([
    { name: "Qwen3 without head_dim", config: { ...QWEN2, architectures: ["Qwen3ForCausalLM"] } },
    { name: "Qwen2 with another head_dim than follows", config: { ...QWEN2, head_dim: 64 } },
  ])("$name: nothing is known of the attention, and the rest is", ({ config }) => {
    const model = baseModel(config);
    expect(model?.projections.get("q_proj")).toBeUndefined();
    expect(model?.projections.get("up_proj")).toEqual([64, 128]);
  });

  test.each([
    { name: "another architecture", config: { ...QWEN2, architectures: ["MixtralForCausalLM"] } },
    { name: "two architectures", config: { ...QWEN2, architectures: ["Qwen2ForCausalLM", "LlamaForCausalLM"] } },
    { name: "no architecture", config: { ...QWEN2, architectures: undefined } },
    { name: "no hidden size", config: { ...QWEN2, hidden_size: "64" } },
    { name: "nothing", config: null },
    { name: "a list", config: [] },
  ])("$name: nothing is known", ({ config }) => {
    expect(baseModel(config)).toBeUndefined();
  });
});

test("the configuration is read where the engine's folder is here, too", async () => {
  const dir = await mkdtemp(join(tmpdir(), "base-"));
  try {
    const models = [entry("adapter", "/elsewhere", "base"), entry("base", dir)];
    expect(await readBaseModel(models)).toBeUndefined();
    await writeFile(join(dir, "config.json"), JSON.stringify(QWEN2));
    expect(await readBaseModel(models)).toMatchObject({ layers: 2 });
    await writeFile(join(dir, "config.json"), "{");
    expect(await readBaseModel(models)).toBeUndefined();
    expect(await readBaseModel([entry("base", "Qwen/Qwen2.5-Coder-1.5B-Instruct")])).toBeUndefined();
  } finally {
    await rm(dir, { recursive: true });
  }
});

test.each([
  { name: "another repository", trainedOn: "org/llama", root: "Qwen/Qwen2.5", warns: true },
  { name: "another one in the Hub's cache", trainedOn: "org/llama", root: "/c/models--Qwen--Qwen2.5/snapshots/abc", warns: true },
  { name: "the same", trainedOn: "Qwen/Qwen2.5", root: "Qwen/Qwen2.5", warns: false },
  { name: "the same by another owner, written otherwise", trainedOn: "unsloth/qwen2_5", root: "Qwen/Qwen2.5", warns: false },
  { name: "the same in the Hub's cache", trainedOn: "Qwen/Qwen2.5", root: "/c/models--Qwen--Qwen2.5/snapshots/abc", warns: false },
  { name: "the name under which it is served", trainedOn: "Qwen/base", root: "org/other", warns: false },
  { name: "a folder, which may hold anything", trainedOn: "org/llama", root: "/models/base-model", warns: false },
  { name: "an adapter that was trained on a folder", trainedOn: "/home/me/llama", root: "Qwen/Qwen2.5", warns: false },
  { name: "an adapter that does not tell", trainedOn: undefined, root: "Qwen/Qwen2.5", warns: false },
])("a warning for the base model: $name", ({ trainedOn, root, warns }) => {
  const warning = baseModelWarning(trainedOn, [entry("base", root), entry("a", "/a", "base")]);
  expect(warning).toBe(warns ? `warning: the adapter was trained on ${trainedOn}, the engine serves ${root}` : undefined);
});
