import { createHash } from "node:crypto";

/** Tokens of a KV-cache block on CPU: shorter prompts are never reused. */
export const BLOCK_TOKENS = 128;
const MAX_BLOCKS = 4096;

/**
 * Which weights computed the first block of a prompt.
 *
 * vLLM keys its prefix cache by the adapter's name and path, not by its content, so other weights under the same
 * name and path answer from blocks of the old ones: text that fits neither. A new path, or a short prompt, is correct.
 * Measured on vLLM 0.32.0; the key is `_gen_lora_extra_hash_keys` in vllm/v1/core/kv_cache_utils.py.
 */
export class PrefixCache {
  readonly #blocks = new Map<string, string>();

  /** True when the first block of this prompt is at hand, but from other weights. Remembers it otherwise. */
  isStale(name: string, path: string, prompt: string, promptTokens: number, digest: string): boolean {
    if (promptTokens <= BLOCK_TOKENS) return false;
    const block = prompt.slice(0, BLOCK_TOKENS * 4);
    const key = createHash("sha256")
      .update(JSON.stringify([name, path, block]))
      .digest("base64");
    const known = this.#blocks.get(key);
    if (known !== undefined) return known !== digest;
    const oldest = this.#blocks.size >= MAX_BLOCKS ? this.#blocks.keys().next().value : undefined;
    if (oldest !== undefined) this.#blocks.delete(oldest);
    this.#blocks.set(key, digest);
    return false;
  }
}
