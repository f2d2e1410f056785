import { DEFAULT_ENGINE_PORT, ENGINES_SERVICE } from "@aibrix/api";
import type { EndpointSlice, Service } from "@aibrix/kube";
import { enginePort, type PodFacts } from "../pods/facts.ts";
import { headlessService } from "./service.ts";
import { type Listed, planSlices, type SliceChanges } from "./slices.ts";

/** The Service that stands for all engines. */
export function enginesService(namespace: string): Service {
  return headlessService(ENGINES_SERVICE, namespace, DEFAULT_ENGINE_PORT, undefined);
}

/**
 * What to write so that `aibrix-engines` lists every engine pod that has an address, and no other. Pure. A pod is listed with its own
 * port, and with every port at which an adapter's slice has it: by the adapter's label that may be another one.
 *
 * Also a pod that is not ready yet: Envoy Gateway takes some hundred milliseconds to tell its Envoys an address, and until they have the
 * first one its route answers 503, while a client may send as soon as Ready is told. Requests go where the plugin says, which is never a
 * pod that is not ready.
 *
 * @param watched - the one namespace that is looked at; `undefined` for all
 * @param adapterSlices - the slices of all adapters
 */
export function planEngines(
  namespace: string,
  watched: string | undefined,
  pods: Iterable<PodFacts>,
  adapterSlices: Iterable<EndpointSlice>,
  existing: readonly EndpointSlice[],
): SliceChanges {
  const engines = new Map<string, PodFacts>();
  for (const pod of pods) if (pod.baseModel !== undefined && !pod.terminating && !pod.finished) engines.set(pod.uid, pod);
  const listed = new Map<string, Listed>();
  const list = (pod: PodFacts, port: number) => listed.set(`${pod.key} ${port}`, { pod, port });
  for (const pod of engines.values()) list(pod, enginePort(pod));
  for (const slice of adapterSlices) {
    for (const { uid, port } of places(slice)) {
      const pod = engines.get(uid);
      if (pod !== undefined && pod.namespace === slice.metadata.namespace) list(pod, port);
    }
  }
  const sorted = [...listed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
  return planSlices({ namespace, service: ENGINES_SERVICE, owner: undefined, port: DEFAULT_ENGINE_PORT, watched }, sorted, existing);
}

/**
 * Whether an adapter's slice has a pod at another port than the pod's own: only those say something new. Pure.
 *
 * @param podOf - a pod by its key
 */
export function hasOtherPorts(slice: EndpointSlice, podOf: (key: string) => PodFacts | undefined): boolean {
  return places(slice).some(({ key, port }) => {
    const pod = podOf(key);
    return pod !== undefined && enginePort(pod) !== port;
  });
}

interface Place {
  readonly key: string;
  readonly uid: string;
  readonly port: number;
}

function places({ metadata, endpoints, ports }: EndpointSlice): Place[] {
  const port = ports?.[0]?.port;
  if (port === undefined) return [];
  return (endpoints ?? []).flatMap(({ targetRef }) =>
    targetRef?.uid === undefined ? [] : [{ key: `${metadata.namespace}/${targetRef.name}`, uid: targetRef.uid, port }],
  );
}
