import { LABEL_MAX_CPU_LORAS, LABEL_MAX_LORAS } from "@aibrix/api";
import type { Container } from "@aibrix/kube";
import type { EngineLimits } from "../engines/agent.ts";
import { flagValue } from "./containers.ts";
import { type SaidRank, saidRank } from "./max-lora-rank.ts";

/** The engine's room for adapters. */
export interface LoraLimits {
  /** Adapters that one batch may mix. */
  readonly maxLoras: number;
  /** Adapters that the engine holds in memory; the others it reads again when they are asked for. */
  readonly maxCpuLoras: number;
  /** Whether somebody chose these numbers; else they are vLLM's defaults, which say nothing of what the engine can bear. */
  readonly chosen: boolean;
  /** `undefined` where it cannot be told. */
  readonly maxLoraRank: number | undefined;
}

/** What a pod itself says of its engine's limits. */
export interface SaidLimits {
  readonly maxLoras: Said;
  readonly maxCpuLoras: Said;
  readonly maxLoraRank: SaidRank;
}

interface Said {
  readonly label: number | undefined;
  readonly argument: number | undefined;
}

/** Reads what a pod says. Pure. */
export function saidLimits(labels: Readonly<Record<string, string>>, engine: Container | undefined): SaidLimits {
  const said = (label: string, flag: string): Said => ({
    label: positive(labels[label]),
    argument: engine && positive(flagValue(engine, flag)),
  });
  return {
    maxLoras: said(LABEL_MAX_LORAS, "--max-loras"),
    maxCpuLoras: said(LABEL_MAX_CPU_LORAS, "--max-cpu-loras"),
    maxLoraRank: saidRank(labels, engine),
  };
}

/**
 * The limits that count. Pure. Of the numbers a label comes before what the sidecar was told by the engine, that before the arguments, and
 * vLLM's defaults last: one, and as many in memory. Of the rank label and arguments come first.
 */
export function limitsOf({ maxLoras, maxCpuLoras, maxLoraRank }: SaidLimits, told: EngineLimits | undefined): LoraLimits {
  const loras = maxLoras.label ?? told?.maxLoras ?? maxLoras.argument ?? 1;
  const inMemory = maxCpuLoras.label ?? told?.maxCpuLoras ?? maxCpuLoras.argument ?? loras;
  const said = [maxLoras, maxCpuLoras].some((s) => s.label !== undefined || s.argument !== undefined);
  return {
    maxLoras: loras,
    maxCpuLoras: Math.max(loras, inMemory),
    // An engine tells its default of one as it tells any other number.
    chosen: said || loras > 1 || inMemory > 1,
    maxLoraRank: maxLoraRank.said ?? told?.maxLoraRank ?? maxLoraRank.byDefault,
  };
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return Number.isInteger(value) && value > 0 ? value : undefined;
}
