import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeAdapter } from "../fixtures/adapter.ts";
import { writeBaseModel } from "../fixtures/base-model.ts";

/** The tiny base model on the local Hub. */
export const BASE_REPO = "Qwen/Qwen2.5-Coder-1.5B-Instruct";

/** Tiny adapters on the local Hub; each answers with text of its own. */
const HUB_ADAPTERS: Readonly<Record<string, number>> = {
  "ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora": 1,
  "acme/sql-lora": 2,
  "acme/chat-lora": 3,
  "acme/summary-lora": 4,
};

/** What the local S3 server's bucket holds, by prefix. */
export const S3_BUCKET = "models";
/** The folder in the bucket that the local S3 server has an adapter in. */
export const S3_PREFIX = "adapters/sql-lora";
const S3_ADAPTERS: Readonly<Record<string, number>> = { [S3_PREFIX]: 2 };

/** Fills the local Hub's folder. Repositories that the user has put there stay as they are. Returns the base model's folder. */
export async function fillHub(root: string): Promise<string> {
  const base = join(root, BASE_REPO);
  await replaceDir(base, writeBaseModel);
  for (const [repo, seed] of Object.entries(HUB_ADAPTERS)) {
    await replaceDir(join(root, repo), (dir) => writeAdapter(dir, { seed, baseModel: BASE_REPO }));
  }
  return base;
}

/** Writes the files that the S3 bucket starts with into a folder laid out like the bucket. */
export async function writeS3Files(root: string): Promise<void> {
  for (const [prefix, seed] of Object.entries(S3_ADAPTERS)) {
    await replaceDir(join(root, prefix), (dir) => writeAdapter(dir, { seed, baseModel: BASE_REPO }));
  }
}

/** Writes a folder whole or not at all. */
async function replaceDir(dir: string, write: (dir: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(dir), `.new-${process.pid}`);
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  await write(temporary);
  await rm(dir, { recursive: true, force: true });
  await rename(temporary, dir);
}
