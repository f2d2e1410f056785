import { type LabelSelector, matchesSelector } from "@aibrix/api";
import type { Pod, Store } from "@aibrix/kube";
import type { ModelAdapterObject } from "../model-adapter/types.ts";

/** Index of ModelAdapters by one label that their pods must have. */
export const BY_REQUIRED_LABEL = "required-label";
/** Index of ModelAdapters by the uids of pods that their status has a row for. */
export const BY_POD = "pod";

/** The indexes by which the adapters that a pod concerns are found without a look at all others. */
export const ADAPTER_INDEXES: Readonly<Record<string, (adapter: ModelAdapterObject) => Iterable<string>>> = {
  [BY_REQUIRED_LABEL]: ({ metadata, spec }) => [`${metadata.namespace}/${requiredLabel(spec.podSelector)}`],
  [BY_POD]: ({ status }) => (status?.pods ?? []).flatMap((row) => row.uid ?? []),
};

type Adapters = Pick<Store<ModelAdapterObject>, "byIndex" | "keysByIndex">;

/** Keys of the adapters whose selector selects one of these states of a pod. */
export function* selecting(adapters: Adapters, pods: readonly Pod[]): Iterable<ModelAdapterObject> {
  const [pod] = pods;
  if (pod === undefined) return;
  const labels = new Set(pods.flatMap((p) => Object.entries(p.metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`)));
  for (const label of [ANY, ...labels]) {
    for (const adapter of adapters.byIndex(BY_REQUIRED_LABEL, `${pod.metadata.namespace}/${label}`)) {
      if (pods.some((p) => matchesSelector(adapter.spec.podSelector, p.metadata.labels ?? {}))) yield adapter;
    }
  }
}

/** Keys of the adapters whose status has a row for one of these states of a pod. */
export function* recordedOn(adapters: Adapters, pods: readonly Pod[]): Iterable<string> {
  for (const uid of new Set(pods.flatMap((p) => p.metadata.uid ?? []))) yield* adapters.keysByIndex(BY_POD, uid);
}

/** Whether any adapter's status has a row for a pod. */
export function isRecorded(adapters: Adapters, pod: Pod): boolean {
  for (const _ of recordedOn(adapters, [pod])) return true;
  return false;
}

const ANY = "";

/** A label, `key=value`, that a pod must have to be selected; empty where the selector wants no certain one. */
function requiredLabel({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const [wanted] = Object.entries(matchLabels);
  if (wanted !== undefined) return `${wanted[0]}=${wanted[1]}`;
  const one = matchExpressions.find((e) => e.operator === "In" && e.values?.length === 1);
  return one === undefined ? ANY : `${one.key}=${one.values?.[0]}`;
}
