import { expect, test } from "vitest";
import { rankTooHigh, refusedRank } from "./rank.ts";

test.each<{ name: string; message: string | undefined; want: object | undefined }>([
  {
    name: "a runtime's check",
    message:
      "the adapter has rank 32, the engine takes 16 at most: start the engine with --max-lora-rank 32, or train the adapter with a lower rank",
    want: { rank: 32, limit: 16 },
  },
  {
    name: "a runtime whose engine refused it",
    message:
      "the adapter has rank 64, the engine takes at most 8 (LoRA rank 64 is greater than max_lora_rank 8): start the engine with --max-lora-rank 64, or use an adapter of rank 8 or less",
    want: { rank: 64, limit: 8 },
  },
  {
    name: "vLLM itself",
    message:
      "the engine takes no adapter of that rank (LoRA rank 64 is greater than max_lora_rank 16.): start it with a higher --max-lora-rank",
    want: { rank: 64, limit: 16 },
  },
  {
    name: "no refusal for a rank",
    message: "the adapter changes layer 40 of its base model, the engine's has layers 0 to 27 only",
    want: undefined,
  },
  { name: "nothing", message: undefined, want: undefined },
])("rank and limit are read from $name", ({ message, want }) => {
  expect(refusedRank(message)).toEqual(want);
});

test("a remedy is a limit that vLLM takes", () => {
  expect(rankTooHigh(24, [{ pod: "default/a", limit: 8 }], 2)).toBe(
    "rank 24; default/a takes 8, and 2 more pods less than that: start the engine with --max-lora-rank=32 or more",
  );
});
