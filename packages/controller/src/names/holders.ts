import { createdSec, LABEL_MODEL_NAME, type NameHolder, nameHolder } from "@aibrix/api";
import { type KubeObject, keyOf, type Pod } from "@aibrix/kube";
import { factsOf } from "../pods/trim.ts";

/** Somebody who has a name, in a namespace. */
export type Holder = NameHolder & { readonly namespace: string };

/** Who else has an adapter's name, as far as is watched. */
export interface NameFacts {
  /** Keys of pods of its own namespace that say that their base model has it. */
  readonly basePods: readonly string[];
  /** Who answers to the plain name in the adapter's place: older, and in another namespace. */
  readonly heldBy: Holder | undefined;
  /** Other namespaces with a base model of this name, which the adapter keeps from the plain name. */
  readonly basesBehind: readonly string[];
}

export const NOBODY_ELSE: NameFacts = { basePods: [], heldBy: undefined, basesBehind: [] };

/**
 * Says who else has a name. Pure.
 *
 * @param adapters - all of that name, this one too
 * @param pods - all whose label says that their base model has it
 */
export function nameFacts(adapter: KubeObject, adapters: readonly KubeObject[], pods: readonly Pod[]): NameFacts {
  const namespace = adapter.metadata.namespace ?? "";
  // One that has ended for good serves nothing, and may lie about for days.
  const living = pods.filter((pod) => !factsOf(pod).finished);
  const holders = [...adapters.map((a) => holder("adapter", a)), ...living.map((pod) => holder("base", pod))];
  const first = nameHolder(() => holders);
  const elsewhere = living.map((pod) => pod.metadata.namespace ?? "").filter((ns) => ns !== namespace);
  return {
    basePods: living
      .filter((pod) => pod.metadata.namespace === namespace)
      .map(keyOf)
      .sort(),
    heldBy: first?.namespace === namespace ? undefined : first,
    basesBehind: first?.namespace === namespace && first.kind === "adapter" ? [...new Set(elsewhere)].sort() : [],
  };
}

/** The name that a pod's base model has; `undefined` for one without. */
export function baseModelOf(pod: Pod): string | undefined {
  return pod.metadata.labels?.[LABEL_MODEL_NAME] || undefined;
}

function holder(kind: Holder["kind"], { metadata }: KubeObject): Holder {
  return { kind, namespace: metadata.namespace ?? "", createdSec: createdSec(metadata.creationTimestamp) };
}
