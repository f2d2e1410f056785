// Whatever is in the files: they are taken, or refused as invalid, and nothing else happens.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AdapterError } from "../../errors.ts";
import { inspectAdapter } from "./adapter.ts";
import type { AdapterFile } from "./files.ts";

const SIGNAL = new AbortController().signal;
/** The most that one read may ask for, whatever a file says of itself: the bound on headers. */
const MAX_READ_BYTES = 32 * 1024 * 1024;
const GOOD_CONFIG = { peft_type: "LORA", r: 2, lora_alpha: 4, target_modules: ["q_proj"], bias: "none" };
const Q = "base_model.model.model.layers.0.self_attn.q_proj";
const GOOD_HEADER = {
  __metadata__: { format: "pt" },
  [`${Q}.lora_A.weight`]: { dtype: "F32", shape: [2, 4], data_offsets: [0, 32] },
  [`${Q}.lora_B.weight`]: { dtype: "F32", shape: [4, 2], data_offsets: [32, 64] },
};

function file(name: string, bytes: Uint8Array, reads: number[] = []): AdapterFile {
  return {
    name,
    sizeBytes: bytes.length,
    read: async (start, end) => {
      reads.push(end - start);
      return Buffer.from(bytes.subarray(start, end));
    },
  };
}

function safetensors(header: string | Uint8Array, dataBytes = 64, announced?: bigint): Uint8Array {
  const text = Buffer.from(header as string);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(announced ?? BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}

/** @returns whether the adapter was taken */
async function survives(config: string | Uint8Array, weights: Uint8Array): Promise<boolean> {
  const reads: number[] = [];
  try {
    const facts = await inspectAdapter(
      [file("adapter_config.json", Buffer.from(config as string)), file("adapter_model.safetensors", weights, reads)],
      SIGNAL,
    );
    expect(facts.modules.length).toBeGreaterThan(0);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(AdapterError);
    expect(error).toMatchObject({ reason: "ArtifactInvalid", retryable: false });
    expect((error as Error).message.length).toBeLessThan(1_000);
    return false;
  } finally {
    expect(Math.max(0, ...reads)).toBeLessThanOrEqual(Math.min(MAX_READ_BYTES, weights.length));
  }
}

const CONFIG = JSON.stringify(GOOD_CONFIG);
const WEIGHTS = safetensors(JSON.stringify(GOOD_HEADER));
const NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "r", "dtype", "length", ""];
const key = fc.oneof(fc.constantFrom(...NAMES, ...Object.keys(GOOD_HEADER), ...Object.keys(GOOD_CONFIG)), fc.string());
const value = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(1e308, -1, 0, 2 ** 53, 2 ** 64, 0.5, null, "", "LORA", "F32", "none"),
  fc.array(fc.oneof(fc.nat(), fc.integer(), fc.double())),
);
const runs = { numRuns: 500 };

test("the good one is taken, so that refusing everything is no answer", async () => {
  expect(await survives(CONFIG, WEIGHTS)).toBe(true);
});

describe("the header", () => {
  test("any bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), async (bytes) => void (await survives(CONFIG, bytes))),
      runs,
    );
  });

  test("any header, of any announced length", async () => {
    const length = fc.option(fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 200_000_000n })), {
      nil: undefined,
    });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array(),
        fc.nat(256),
        length,
        async (header, data, announced) => void (await survives(CONFIG, safetensors(header, data, announced))),
      ),
      runs,
    );
  });

  test("the good file with bytes changed", async () => {
    const changes = fc.array(fc.tuple(fc.nat(WEIGHTS.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const bytes = Uint8Array.from(WEIGHTS);
        for (const [at, byte] of list) bytes[at] = byte;
        await survives(CONFIG, bytes);
      }),
      runs,
    );
  });

  test("the good file cut anywhere is refused", async () => {
    for (let end = 0; end < WEIGHTS.length; end += 1) expect(await survives(CONFIG, WEIGHTS.subarray(0, end))).toBe(false);
  });

  test("any JSON, with keys twice and those that objects have", async () => {
    const tensor = fc.record({ dtype: value, shape: value, data_offsets: value }, { requiredKeys: [] });
    const members = fc.array(fc.tuple(key, fc.oneof(value, tensor)), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(members, async (list) => {
        // By hand: an object cannot hold a key twice.
        const text = `{${list.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v) ?? "null"}`).join(",")}}`;
        await survives(CONFIG, safetensors(text));
      }),
      runs,
    );
  });

  test.each(["[", '{"a":'])("nested without end: %s", async (open) => {
    const deep = open.repeat(200_000) + (open === "[" ? "]" : "}").repeat(open === "[" ? 200_000 : 0);
    for (const header of [
      deep,
      `{"a":${deep}}`,
      `{"__metadata__":${deep}}`,
      `{"__metadata__":{"a":${deep}}}`,
      `{"a":{"dtype":${deep},"shape":${deep},"data_offsets":${deep}}}`,
    ])
      expect(await survives(CONFIG, safetensors(header))).toBe(false);
  });

  test("a hundred thousand tensors", async () => {
    const tensors = Object.fromEntries(
      Array.from({ length: 100_000 }, (_, i) => [
        `model.layers.${i >> 1}.self_attn.q_proj.lora_${i % 2 === 0 ? "A" : "B"}.weight`,
        { dtype: "F32", shape: i % 2 === 0 ? [2, 0] : [0, 2], data_offsets: [0, 0] },
      ]),
    );
    expect(await survives(CONFIG, safetensors(JSON.stringify(tensors), 0))).toBe(true);
  });
});

describe("adapter_config.json", () => {
  test("any bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), async (bytes) => void (await survives(bytes, WEIGHTS))),
      runs,
    );
  });

  test("any text", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary" }), async (text) => void (await survives(text, WEIGHTS))),
      runs,
    );
  });

  test("the good one with any fields changed", async () => {
    const fields = [
      ...Object.keys(GOOD_CONFIG),
      "rank_pattern",
      "modules_to_save",
      "init_lora_weights",
      "use_dora",
      "use_bdlora",
      "layer_replication",
      "base_model_name_or_path",
    ];
    const members = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...fields), key), value), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(members, async (list) => {
        const more = list.map(([k, v]) => `,${JSON.stringify(k)}:${JSON.stringify(v) ?? "null"}`).join("");
        await survives(`${CONFIG.slice(0, -1)}${more}}`, WEIGHTS);
      }),
      runs,
    );
  });

  test("nested without end", async () => {
    const deep = "[".repeat(200_000) + "]".repeat(200_000);
    expect(await survives(deep, WEIGHTS)).toBe(false);
    expect(await survives(`{"r":${deep}}`, WEIGHTS)).toBe(false);
    for (const field of ["peft_type", "lora_alpha", "rank_pattern", "modules_to_save", "init_lora_weights", "bias", "x"])
      await survives(`${CONFIG.slice(0, -1)},"${field}":${deep}}`, WEIGHTS);
  });
});
