// What is wrong with an adapter is found before the engine is asked.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { BROKEN_ADAPTER_KINDS, type BrokenAdapterKind, writeAdapter, writeBrokenAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CountingProxy, startCountingProxy } from "./support/counting-proxy.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { complete, type Runtime, World } from "./support/world.ts";

const SAYS: Record<BrokenAdapterKind, RegExp> = {
  truncated: /adapter_model\.safetensors is truncated: it has \d+ bytes, its header asks for \d+; upload the file again/,
  empty: /there are no files.*write the URL of the folder/,
  rank16: /rank 16, the engine takes 8 at most: start the engine with --max-lora-rank 16/,
  rank32: /rank 32, the engine takes 8 at most: start the engine with --max-lora-rank 32/,
  "wrong-base": /base model of another size: .*q_proj" has 64 inputs.*use an adapter that was trained on the model/,
  "lm-head": /"lm_head", which the engine lets no adapter change in Qwen2ForCausalLM: train it on q_proj, /,
  "only-bin": /Python pickle.*safe_serialization=True/,
  "broken-config": /adapter_config\.json is not JSON: upload/,
  "no-config": /adapter_config\.json is missing.*write the URL/,
  "rank-pattern": /rank 32, the engine takes 8 at most/,
  dora: /uses DoRA.*use_dora=False/,
  bias: /trains biases \(bias "all"\).*bias="none"/,
  "modules-to-save": /modules_to_save: "lm_head".*train it without/,
  pissa: /init_lora_weights "pissa".*convert it/,
  "no-alpha": /"lora_alpha" must be a number, it is missing; add/,
  "no-targets": /"target_modules" is missing; add/,
  ia3: /peft_type "IA3": only LORA/,
  "a-without-b": /has only lora_A of "model\.layers\.0\.self_attn\.q_proj".*save the adapter again/,
  "b-without-a": /has only lora_B of .*save the adapter again/,
  "whole-head": /"base_model\.model\.lm_head\.weight".*save_embedding_layers=False/,
  "adapter-name": /lora_A\.default\.weight".*save it with PEFT's save_pretrained/,
  "trailing-bytes": /8 bytes follow its last tensor; upload/,
  "web-page": /it is no safetensors file; upload/,
  "no-tensors": /holds no LoRA weights: save/,
  "two-ranks": /lora_A \[4, 64\] and lora_B \[64, 8\].*save the adapter again/,
  "other-rank": /has rank 8 .*adapter_config\.json says 4: use the configuration/,
  int8: /as I8: save the weights as F32/,
  "more-layers": /changes layer 7 of its base model, the engine's has layers 0 to 1/,
  "smaller-base": /base model of another size/,
};
/** Those that are whole, but not for this engine. */
const UNFIT: readonly BrokenAdapterKind[] = ["rank16", "rank32", "rank-pattern", "wrong-base", "smaller-base", "lm-head", "more-layers"];

const world = new World();
let engine: Program;
let proxy: CountingProxy;
let runtime: Runtime;

beforeAll(async () => {
  engine = await world.engine();
  proxy = await startCountingProxy(engine.url);
  runtime = await world.runtime(proxy.url, { args: ["--max-lora-rank=8"] });
  for (const kind of BROKEN_ADAPTER_KINDS) await writeBrokenAdapter(world.path(kind), kind);
});
afterAll(async () => {
  await proxy?.close();
  await stopPrograms();
  world.remove();
});

test.each(BROKEN_ADAPTER_KINDS)("%s: the cause and the remedy are told, and the engine hears nothing of it", async (kind) => {
  await runtime.load(kind, world.path(kind));
  const status = await runtime.failed(kind, UNFIT.includes(kind) ? "ArtifactUnfit" : "ArtifactInvalid");
  expect(status).toMatchObject({ message: expect.stringMatching(SAYS[kind]), retryable: false, serving: null });
  expect(proxy.posts).toEqual([]);
});

test.each([
  { name: "all-modules", rank: 8, targetModules: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] },
  { name: "low-rank", rank: 1 },
])("$name goes to the engine", async ({ name, ...options }) => {
  await writeAdapter(world.path(name), { seed: 3, ...options });
  await runtime.load(name, world.path(name));
  await runtime.serves(name);
  expect((await complete(engine, name)).status).toBe(200);
  expect(proxy.posts.length).toBeGreaterThan(0);
});

describe("limits of a load call", () => {
  test("count before the flag", async () => {
    await runtime.load("rank16", world.path("rank16"), { limits: { max_lora_rank: 16 } });
    // What is told wrong is no harm: the engine itself refuses.
    expect((await runtime.failed("rank16", "EngineRefused")).message).toMatch(/rank 16.*--max-lora-rank 16/);
    await writeAdapter(world.path("rank8"), { seed: 4 });
    await runtime.load("rank8", world.path("rank8"), { limits: { max_lora_rank: 4 } });
    expect((await runtime.failed("rank8", "ArtifactUnfit")).message).toContain("the engine takes 4 at most");
  });

  test("are remembered over a restart of the runtime", async () => {
    await runtime.program.stop();
    runtime = await world.runtime(proxy.url, { args: ["--max-lora-rank=8"] });
    expect((await runtime.failed("rank8", "ArtifactUnfit")).message).toContain("the engine takes 4 at most");
    await runtime.load("rank8", world.path("rank8"));
    await runtime.serves("rank8");
  });

  test.each([0, 1.5, "16"])("%s is no limit", async (limit) => {
    const answer = await runtime.load("x", world.path("rank8"), { limits: { max_lora_rank: limit } });
    expect(answer).toMatchObject({ status: 400, body: { error: { message: expect.stringContaining("max_lora_rank") } } });
  });
});

test("an update that does not fit leaves in the engine what serves", async () => {
  await runtime.load("rank8", world.path("rank16"));
  expect(await runtime.failed("rank8", "ArtifactUnfit")).toMatchObject({
    serving: { path: world.path("rank8") },
    message: expect.stringMatching(/the adapter has rank 16, .* or train the adapter with a lower rank$/),
  });
  expect((await complete(engine, "rank8")).status).toBe(200);
  expect(engine.output()).not.toContain("unloaded");
});

test("where nothing is known of the engine, it decides", async () => {
  const other = new World();
  try {
    const alone = await other.engine();
    await rm(join(other.path("base"), "config.json"));
    const asking = await other.runtime(alone.url);
    for (const [kind, says] of [
      ["rank16", /--max-lora-rank 16/],
      ["wrong-base", /base model of another size/],
      ["lm-head", /lm_head/],
    ] as const) {
      await asking.load(kind, world.path(kind));
      expect(await asking.failed(kind, "EngineRefused")).toMatchObject({ message: expect.stringMatching(says), retryable: false });
    }
  } finally {
    other.remove();
  }
});
