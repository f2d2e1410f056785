import { expect, test } from "vitest";
import { brief, parseConfig } from "./config.ts";

const GOOD = { peft_type: "LORA", r: 8, lora_alpha: 16, target_modules: ["q_proj"], bias: "none" };
const config = (fields: object) => JSON.stringify({ ...GOOD, ...fields });

function check(text: string): string {
  try {
    parseConfig(text);
    return "good";
  } catch (error) {
    return `${(error as { reason?: string }).reason}: ${(error as Error).message}`;
  }
}

// Each was taken by a running vLLM 0.32.
test.each([
  {},
  { use_rslora: true },
  { peft_type: null },
  { peft_type: undefined },
  { bias: undefined },
  { target_modules: "all-linear" },
  { target_modules: null },
  { lora_alpha: 0.5 },
  { use_dora: false },
  { use_dora: null },
  { modules_to_save: [] },
  { modules_to_save: ["score"] },
  { init_lora_weights: false },
  { init_lora_weights: null },
  { init_lora_weights: "Gaussian" },
  { init_lora_weights: "eva" },
  { alora_invocation_tokens: [] },
  { layer_replication: [] },
  { use_bdlora: {} },
  { rank_pattern: null },
  { rank_pattern: {} },
  { rank_pattern: { v_proj: 16 } },
  { fan_in_fan_out: true },
  { something_new: { deep: [1] } },
])("takes %j", (fields) => {
  expect(check(config(fields))).toBe("good");
});

test("takes numbers as Python writes them", () => {
  expect(check('{"r": 8, "lora_alpha": 16, "target_modules": null, "lora_dropout": NaN, "x": [-Infinity, "a NaN \\" NaN"]}')).toBe("good");
});

test("reads ranks and the base model", () => {
  expect(parseConfig(config({ rank_pattern: { a: 4, b: 32 }, base_model_name_or_path: "org/base" }))).toEqual({
    rank: 8,
    patternRanks: [4, 32],
    baseModel: "org/base",
  });
});

test.each([
  { text: '{"r": 8', says: "is not JSON" },
  { text: "\ufeff{}", says: "is not JSON" },
  { text: "// a\n{}", says: "is not JSON" },
  { text: "[]", says: "is not an object" },
  { text: "null", says: "is not an object" },
  { text: "NaN", says: "is not an object" },
])("refuses $text", ({ text, says }) => {
  expect(check(text)).toMatch(new RegExp(`^ArtifactInvalid: adapter_config.json ${says}: \\w`));
});

// Each was refused by a running vLLM 0.32, but for peft_type, which it does not look at, and half a rank.
test.each([
  { fields: { r: undefined }, says: "it is missing" },
  { fields: { r: 0 }, says: "it is 0" },
  { fields: { r: 2.5 }, says: "it is 2.5" },
  { fields: { r: "8" }, says: 'it is "8"' },
  { fields: { r: null }, says: "it is null" },
  { fields: { peft_type: "IA3" }, says: 'peft_type "IA3": only LORA' },
  { fields: { lora_alpha: undefined }, says: '"lora_alpha" must be a number, it is missing; add' },
  { fields: { lora_alpha: "16" }, says: '"lora_alpha" must be a number, it is "16"' },
  { fields: { target_modules: undefined }, says: '"target_modules" is missing' },
  { fields: { use_dora: true }, says: "uses DoRA, which the engine does not support: train it with use_dora=False" },
  { fields: { bias: "all" }, says: 'trains biases (bias "all")' },
  { fields: { bias: null }, says: "trains biases (bias null)" },
  { fields: { lora_bias: true }, says: "lora_bias" },
  { fields: { modules_to_save: ["lm_head"] }, says: 'modules_to_save: "lm_head"' },
  { fields: { modules_to_save: ["score", "embed_tokens"] }, says: 'modules_to_save: "embed_tokens"' },
  { fields: { init_lora_weights: "pissa_niter_16" }, says: 'init_lora_weights "pissa_niter_16"' },
  { fields: { init_lora_weights: "olora" }, says: "init_lora_weights" },
  { fields: { alora_invocation_tokens: [1] }, says: "Activated LoRA" },
  { fields: { layer_replication: [[0, 1]] }, says: "layer_replication" },
  { fields: { use_bdlora: { a: 1 } }, says: "use_bdlora" },
  { fields: { use_qalora: true }, says: "QALoRA" },
  { fields: { rank_pattern: { v_proj: 0 } }, says: 'rank_pattern in which "v_proj" is 0' },
  { fields: { rank_pattern: { v_proj: "16" } }, says: 'rank_pattern in which "v_proj" is "16"' },
  { fields: { rank_pattern: "x" }, says: 'rank_pattern that is no object: it is "x"' },
])("refuses $fields", ({ fields, says }) => {
  const answer = check(config(fields));
  expect(answer).toMatch(/^ArtifactInvalid: adapter_config.json /);
  expect(answer).toContain(says);
});

test("a value in a message is short, and nothing is looked into", () => {
  const deep = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`) as unknown;
  expect([deep, { a: deep }, "x".repeat(1_000)].map(brief)).toEqual(["a list", "an object", `"${"x".repeat(119)}…"`]);
  expect(check(`{"r": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`)).toContain("it is a list");
});
