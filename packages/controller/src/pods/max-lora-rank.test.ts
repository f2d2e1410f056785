import { LABEL_MAX_LORA_RANK } from "@aibrix/api";
import { expect, test } from "vitest";
import { saidRank } from "./max-lora-rank.ts";

test.each<{ name: string; command?: readonly string[]; args?: readonly string[]; label?: string; want: number | undefined }>([
  { name: "a flag and a value", args: ["--enable-lora", "--max-lora-rank", "64"], want: 64 },
  { name: "one word", args: ["--enable-lora", "--max-lora-rank=32"], want: 32 },
  { name: "underscores", args: ["--enable_lora", "--max_lora_rank=8"], want: 8 },
  { name: "a line of a shell", command: ["sh", "-c", "vllm serve m --enable-lora --max-lora-rank 128"], want: 128 },
  { name: "the last of two", args: ["--max-lora-rank=8", "--max-lora-rank=16"], want: 16 },
  { name: "vLLM's default", command: ["vllm", "serve", "m"], args: ["--enable-lora", "--max-loras", "2"], want: 16 },
  {
    name: "vLLM's default of its module",
    command: ["/usr/bin/python3.12", "-m", "vllm.entrypoints.openai.api_server"],
    args: ["--enable-lora"],
    want: 16,
  },
  { name: "vLLM's default in a line of a shell", command: ["/bin/bash", "-lc"], args: ["exec vllm serve m --enable-lora"], want: 16 },
  { name: "nothing, where the image's entry point may set another", args: ["--enable-lora"], want: undefined },
  { name: "nothing, where a script may", command: ["/start.sh"], args: ["vllm", "serve", "m", "--enable-lora"], want: undefined },
  { name: "nothing, where a line of a shell does more", command: ["sh", "-c", ". /env; vllm serve m --enable-lora"], want: undefined },
  { name: "nothing, where the image has the arguments", want: undefined },
  { name: "nothing, where a file may say more", args: ["--enable-lora", "--config", "/etc/vllm.yaml"], want: undefined },
  { name: "nothing, where a variable may say more", command: ["sh", "-c", "vllm serve m --enable-lora $EXTRA"], want: undefined },
  { name: "nothing, where a variable is the value", args: ["--enable-lora", "--max-lora-rank=$(RANK)"], want: undefined },
  { name: "the label before all", args: ["--enable-lora", "--max-lora-rank=8"], label: "256", want: 256 },
  { name: "the arguments where the label is no number", args: ["--max-lora-rank=8"], label: "high", want: 8 },
])("reads $name", ({ command, args, label, want }) => {
  const labels: Record<string, string> = label === undefined ? {} : { [LABEL_MAX_LORA_RANK]: label };
  const engine = {
    name: "vllm",
    image: "vllm",
    ...(command === undefined ? {} : { command: [...command] }),
    ...(args === undefined ? {} : { args: [...args] }),
  };
  const { said, byDefault } = saidRank(labels, engine);
  expect(said ?? byDefault).toBe(want);
});
