/** vLLM takes no other limits (`MaxLoRARanks` in vllm/config/lora.py). */
const RANK_LIMITS = [1, 8, 16, 32, 64, 128, 256, 320, 512];

/** The `--max-lora-rank` to start vLLM with, so that it takes adapters of a rank. */
export function rankLimit(rank: number): number {
  return RANK_LIMITS.find((limit) => limit >= rank) ?? rank;
}
