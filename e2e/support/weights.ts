import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeAdapter } from "@aibrix/devcluster";
import { adapterDigest } from "@aibrix/mock-engine";

/** Seeds of the tiny adapters that the local Hub and S3 server hold. */
const SEEDS = {
  "ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora": 1,
  "acme/sql-lora": 2,
} as const;

/** What an answer from an adapter's weights names as its digest: the same bytes are made here once more. */
export async function weightsOf(repo: keyof typeof SEEDS): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "aibrix-weights-"));
  try {
    await writeAdapter(dir, { seed: SEEDS[repo], baseModel: "Qwen/Qwen2.5-Coder-1.5B-Instruct" });
    return await adapterDigest(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
