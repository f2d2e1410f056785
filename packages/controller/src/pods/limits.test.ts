import { expect, test } from "vitest";
import type { EngineLimits } from "../engines/agent.ts";
import { type LoraLimits, limitsOf, saidLimits } from "./limits.ts";

const LORAS = "model.aibrix.ai/max-loras";
const IN_MEMORY = "model.aibrix.ai/max-cpu-loras";
const told = (limits: Partial<EngineLimits>): EngineLimits => ({
  maxLoras: undefined,
  maxCpuLoras: undefined,
  maxLoraRank: undefined,
  ...limits,
});

test.each<{ name: string; labels?: Record<string, string>; args?: string[]; told?: EngineLimits; want: Partial<LoraLimits> }>([
  { name: "vLLM's defaults where nobody says anything", want: { maxLoras: 1, maxCpuLoras: 1, chosen: false, maxLoraRank: undefined } },
  {
    name: "the arguments",
    args: ["--max-loras=4", "--max_cpu_loras", "16", "--max-lora-rank", "oops"],
    want: { maxLoras: 4, maxCpuLoras: 16, chosen: true, maxLoraRank: undefined },
  },
  { name: "in memory as many as in a batch", args: ["--max-loras=4"], want: { maxLoras: 4, maxCpuLoras: 4, chosen: true } },
  {
    name: "labels before all",
    labels: { [LORAS]: "2", [IN_MEMORY]: "8" },
    args: ["--max-loras=4", "--max-cpu-loras=16"],
    told: told({ maxLoras: 3, maxCpuLoras: 12 }),
    want: { maxLoras: 2, maxCpuLoras: 8, chosen: true },
  },
  {
    name: "what the engine told before its arguments",
    args: ["--max-loras=4", "--max-cpu-loras=16"],
    told: told({ maxLoras: 3, maxCpuLoras: 12 }),
    want: { maxLoras: 3, maxCpuLoras: 12 },
  },
  { name: "never fewer in memory than in a batch", labels: { [LORAS]: "4", [IN_MEMORY]: "2" }, want: { maxLoras: 4, maxCpuLoras: 4 } },
  { name: "a told default as a default", told: told({ maxLoras: 1 }), want: { maxLoras: 1, maxCpuLoras: 1, chosen: false } },
  { name: "a told number as somebody's choice", told: told({ maxLoras: 2 }), want: { maxLoras: 2, chosen: true } },
  { name: "a default that somebody wrote down as his choice", args: ["--max-loras=1"], want: { maxLoras: 1, chosen: true } },
  {
    name: "the rank of the arguments before what is told",
    args: ["--max-lora-rank=8"],
    told: told({ maxLoraRank: 64 }),
    want: { maxLoraRank: 8 },
  },
  {
    name: "the rank that is told before vLLM's default",
    args: ["--enable-lora"],
    told: told({ maxLoraRank: 64 }),
    want: { maxLoraRank: 64 },
  },
  { name: "vLLM's default rank last", args: ["--enable-lora"], want: { maxLoraRank: 16 } },
])("limits are $name", ({ labels = {}, args, told: fromSidecar, want }) => {
  const engine = args === undefined ? { name: "vllm" } : { name: "vllm", command: ["vllm", "serve", "m"], args };
  expect(limitsOf(saidLimits(labels, engine), fromSidecar)).toMatchObject(want);
});
