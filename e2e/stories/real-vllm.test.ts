// A real vLLM: what the gateway answers is, word for word, what the same engine answers with the adapter loaded by hand.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AdapterOptions, BROKEN_ADAPTER_KINDS, type BrokenAdapterKind, writeAdapter, writeBrokenAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE, ROOT, run } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { BASE_MODEL, dropManifest, manifest } from "../support/manifest.ts";
import { ReferenceEngine } from "../support/reference.ts";
import { type Stack, startStack } from "../support/stack.ts";
import { adapterState } from "../support/states.ts";

const VLLM_MS = 600_000;
const ADAPTERS = ["sql-lora", "chat-lora"];

describe.runIf(ENGINE === "vllm")("a real vLLM", () => {
  let stack: Stack;
  let alone: ReferenceEngine;
  let byHand: string;

  beforeAll(async () => {
    const manifests = Object.fromEntries(ADAPTERS.map((name) => [`${name}.yaml`, manifest(name, `hf://acme/${name}`)]));
    [stack, alone] = await ReferenceEngine.beside(startStack({ manifests }));
    byHand = alone.url;
    for (const name of ADAPTERS) expect(await alone.load(name, stack.hubRepo(`acme/${name}`))).toBe(200);
  }, 2 * VLLM_MS);
  afterAll(async () => {
    await alone?.close();
    await stack?.[Symbol.asyncDispose]();
  });

  test.each([BASE_MODEL, ...ADAPTERS])("%s answers as by hand", async (model) => {
    const [ours, theirs] = await Promise.all([complete(stack.gateway, model), complete(byHand, model)]);
    expect(theirs.status, theirs.body).toBe(200);
    expect(ours.text).toBe(theirs.text);
    expect(ours.text.trim()).not.toBe("");
  });

  test("the three answer differently, so the comparison means something", async () => {
    const texts = new Set<string>();
    // One after the other: see quickstart.test.ts.
    for (const model of [BASE_MODEL, ...ADAPTERS]) texts.add((await complete(byHand, model)).text);
    expect(texts.size).toBe(3);
  });

  /** What the engine that was started by hand says to a load: its HTTP status. */
  async function loadByHand(name: string, dir: string): Promise<number> {
    const status = await alone.load(name, dir);
    if (status === 200) await alone.unload(name);
    return status;
  }

  /** The exit code of `aibrix_runtime check`, which knows what the engine was started with. */
  async function checked(dir: string): Promise<number | null> {
    const base = stack.hubRepo("Qwen/Qwen2.5-Coder-1.5B-Instruct");
    const main = join(ROOT, "packages/runtime/dist/main.js");
    return (await run(process.execPath, [main, "check", dir, "--max-lora-rank=8", `--base-model=${base}`], 60_000)).code;
  }

  /** The engine takes these, and answers with wrong text: halves that do not fit are cut off or left out in silence. */
  const TAKEN_IN_SILENCE: readonly BrokenAdapterKind[] = ["b-without-a", "two-ranks", "other-rank", "int8", "more-layers", "smaller-base"];
  test.each(BROKEN_ADAPTER_KINDS)("a broken adapter is refused by the check and by the engine: %s", async (kind) => {
    const dir = join(stack.folder, "broken", kind);
    await writeBrokenAdapter(dir, kind);
    expect(await checked(dir)).toBe(1);
    const status = await loadByHand(`broken-${kind}`, dir);
    if (TAKEN_IN_SILENCE.includes(kind)) expect(status).toBe(200);
    else expect(status).toBeOneOf([400, 404, 500]);
  });

  const ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
  test.each<{ name: string; options: Partial<AdapterOptions>; config?: object }>([
    { name: "plain", options: {} },
    { name: "rank 1", options: { rank: 1 } },
    { name: "every projection", options: { targetModules: ALL } },
    { name: "rank-stabilized", options: {}, config: { use_rslora: true } },
    { name: "a rank_pattern", options: {}, config: { r: 4, rank_pattern: { "[qv]_proj": 8 } } },
    { name: "an alpha_pattern", options: {}, config: { alpha_pattern: { v_proj: 4 } } },
    { name: "modules by a pattern", options: {}, config: { target_modules: ".*proj" } },
    { name: "an init that changes nothing", options: {}, config: { init_lora_weights: "gaussian" } },
    { name: "fields of a later PEFT", options: {}, config: { something_new: { a: 1 }, megatron_config: null } },
    { name: "fan_in_fan_out", options: {}, config: { fan_in_fan_out: true } },
  ])("a good adapter is taken by the check and by the engine: $name", async ({ name, options, config }) => {
    const dir = join(stack.folder, "good", name.replaceAll(" ", "-"));
    await writeAdapter(dir, { seed: 50, ...options });
    const file = join(dir, "adapter_config.json");
    if (config !== undefined) await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, "utf8")), ...config }));
    expect(await checked(dir)).toBe(0);
    expect(await loadByHand(`good-${name.replaceAll(" ", "-")}`, dir)).toBe(200);
  });

  test.each(["F16", "BF16"])("weights of type %s are taken by the check and by the engine", async (dtype) => {
    const dir = join(stack.folder, "good", dtype);
    await writeAdapter(dir, { seed: 51 });
    await halve(join(dir, "adapter_model.safetensors"), dtype);
    expect(await checked(dir)).toBe(0);
    expect(await loadByHand(`good-${dtype}`, dir)).toBe(200);
  });

  test("an adapter of too high a rank: the state says what to change, the others go on", async () => {
    const dir = join(stack.folder, "rank16");
    await writeBrokenAdapter(dir, "rank16");
    dropManifest(stack.adapters, "rank16.yaml", manifest("rank16", dir));
    const state = await adapterState(stack, "rank16", (a) => a.state === "Failed");
    expect(state).toMatchObject({ reason: "ArtifactUnfit", message: expect.stringMatching(/rank 16.*--max-lora-rank 16/) });
    expect((await complete(stack.gateway, "sql-lora")).status).toBe(200);
  });

  test(
    "after a kill -9 the engine is started again, and both adapters answer as before",
    async () => {
      process.kill(stack.file.pids["engine-1"] ?? 0, "SIGKILL");
      await vi.waitFor(async () => expect((await stack.snapshot()).engine.ready).toBe(false), { timeout: 30_000, interval: 50 });
      await vi.waitFor(
        async () => {
          for (const model of ADAPTERS) expect((await complete(stack.gateway, model)).text).toBe((await complete(byHand, model)).text);
        },
        { timeout: VLLM_MS, interval: 1_000 },
      );
    },
    VLLM_MS,
  );
});

/** Rewrites a file of F32 tensors as one of 16 bits each; what the numbers are does not matter. */
async function halve(path: string, dtype: string): Promise<void> {
  const file = await readFile(path);
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString("utf8")) as Record<
    string,
    { dtype?: string; data_offsets?: readonly [number, number] }
  >;
  let bytes = 0;
  for (const tensor of Object.values(header)) {
    if (tensor.data_offsets === undefined) continue;
    const [start, end] = tensor.data_offsets;
    Object.assign(tensor, { dtype, data_offsets: [start / 2, end / 2] });
    bytes = Math.max(bytes, end / 2);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await writeFile(path, Buffer.concat([length, json, Buffer.alloc(bytes)]));
}
