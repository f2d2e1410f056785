import { DEFAULT_ENGINE_PORT } from "@aibrix/api";
import type { EndpointSlice, Service } from "@aibrix/kube";
import { enginePort, type PodFacts } from "../pods/facts.ts";
import { ENGINES_SERVICE } from "./names.ts";
import { headlessService } from "./service.ts";
import { type Listed, planSlices, type SliceChanges } from "./slices.ts";

/** The Service that stands for all engines. */
export function enginesService(namespace: string): Service {
  return headlessService(ENGINES_SERVICE, namespace, DEFAULT_ENGINE_PORT, undefined);
}

/** What to write so that `aibrix-engines` lists every engine pod that is ready, and no other. Pure. */
export function planEngines(namespace: string, pods: Iterable<PodFacts>, existing: readonly EndpointSlice[]): SliceChanges {
  const listed: Listed[] = [];
  for (const pod of pods) {
    if (pod.baseModel !== undefined && pod.ready && !pod.terminating && !pod.finished) listed.push({ pod, port: enginePort(pod) });
  }
  listed.sort((a, b) => (a.pod.key < b.pod.key ? -1 : 1));
  return planSlices({ namespace, service: ENGINES_SERVICE, owner: undefined, port: DEFAULT_ENGINE_PORT }, listed, existing);
}
