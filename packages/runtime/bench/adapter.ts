import { randomFillSync } from "node:crypto";
import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";

const MIB = 2 ** 20;

/** Writes an adapter of about that size, of numbers that nothing can compress. No engine here can load it. */
export async function writeBigAdapter(dir: string, sizeBytes: number): Promise<void> {
  await mkdir(dir, { recursive: true });
  const config = { peft_type: "LORA", base_model_name_or_path: "base", r: 8, lora_alpha: 16, target_modules: ["q_proj"], bias: "none" };
  await writeFile(join(dir, "adapter_config.json"), JSON.stringify(config));
  const half = Math.floor(sizeBytes / 2 / 32) * 32;
  const module = "base_model.model.model.layers.0.self_attn.q_proj";
  const header = {
    [`${module}.lora_A.weight`]: { dtype: "F32", shape: [8, half / 32], data_offsets: [0, half] },
    [`${module}.lora_B.weight`]: { dtype: "F32", shape: [half / 32, 8], data_offsets: [half, 2 * half] },
  };
  const json = JSON.stringify(header);
  const head = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  const file = await open(join(dir, "adapter_model.safetensors"), "w");
  try {
    await file.write(Buffer.concat([length, head]));
    const chunk = Buffer.alloc(4 * MIB);
    for (let left = 2 * half; left > 0; left -= chunk.length) await file.write(randomFillSync(chunk), 0, Math.min(chunk.length, left));
  } finally {
    await file.close();
  }
}
