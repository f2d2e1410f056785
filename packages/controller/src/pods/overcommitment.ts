import type { NewEvent } from "@aibrix/kube";
import type { PodFacts } from "./facts.ts";
import type { LoraLimits } from "./limits.ts";

/** Which pods have more adapters than their engines hold in memory. */
export class Overcommitment {
  readonly #pods = new Set<string>();

  /** Takes in how many adapters a pod has; says whether it has too many from now on. */
  begins(podUid: string, adapters: number, { maxCpuLoras }: LoraLimits): boolean {
    const before = this.#pods.has(podUid);
    if (adapters > maxCpuLoras) this.#pods.add(podUid);
    else this.#pods.delete(podUid);
    return !before && adapters > maxCpuLoras;
  }

  forgetPod(podUid: string): void {
    this.#pods.delete(podUid);
  }
}

/** What is told of a pod that has too many from now on. Pure. */
export function overcommittedEvent({ key }: PodFacts, adapters: number, { maxCpuLoras }: LoraLimits): NewEvent {
  const note = `pod ${key} has ${adapters} adapters and its engine holds ${maxCpuLoras} in memory: the others are read again when they are asked for, which takes time; start it with a higher --max-cpu-loras, or more pods`;
  return { type: "Warning", reason: "Overcommitted", action: "Schedule", note };
}
