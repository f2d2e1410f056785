import { LABEL_MAX_LORA_RANK } from "@aibrix/api";
import type { Container } from "@aibrix/kube";
import { flagValue, words } from "./containers.ts";

/** vLLM's own default of `--max-lora-rank`. */
const DEFAULT_MAX_LORA_RANK = 16;

/** The highest rank that a pod's engine takes, as far as the pod tells; what cannot be told for sure is not: a wrong guess would refuse what the engine takes. */
export interface SaidRank {
  /** What its label says, else its arguments. */
  readonly said: number | undefined;
  /** What the engine takes since neither says anything. */
  readonly byDefault: number | undefined;
}

/** Reads the limit out of a pod. Pure. */
export function saidRank(labels: Readonly<Record<string, string>>, engine: Container | undefined): SaidRank {
  const label = positive(labels[LABEL_MAX_LORA_RANK]);
  if (label !== undefined || engine === undefined) return { said: label, byDefault: undefined };
  const stated = flagValue(engine, "--max-lora-rank");
  if (stated !== undefined) return { said: positive(stated), byDefault: undefined };
  const all = words(engine).map((word) => word.replaceAll("_", "-"));
  // Arguments that are all in the pod say by their silence that the default holds; an image's entry point, a file or a variable may hold others.
  const isAllSaid =
    isVllm(engine) && all.includes("--enable-lora") && !all.some((word) => word.startsWith("--config") || word.includes("$"));
  return { said: undefined, byDefault: isAllSaid ? DEFAULT_MAX_LORA_RANK : undefined };
}

const SHELL = /^(.*\/)?(ba|da|a)?sh$/;

/** Whether what the pod runs is vLLM itself, by its own command: an image's entry point, or a script, may set what it likes. */
function isVllm(engine: Container): boolean {
  if ((engine.command ?? []).length === 0) return false;
  const all = words(engine);
  const start = SHELL.test(all[0] ?? "") ? all.findIndex((w) => /^-[a-z]*c$/.test(w)) + 1 : 0;
  const [program = "", first = "", second = ""] = all.slice(all[start] === "exec" ? start + 1 : start);
  if (/^(.*\/)?vllm$/.test(program)) return first === "serve";
  return /^(.*\/)?python[0-9.]*$/.test(program) && first === "-m" && second.startsWith("vllm.entrypoints.");
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return Number.isInteger(value) && value > 0 ? value : undefined;
}
