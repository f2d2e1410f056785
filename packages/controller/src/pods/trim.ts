import type { Container, ContainerStatus, Pod } from "@aibrix/kube";
import { type PodFacts, podFacts } from "./facts.ts";

/** What of a pod is kept in memory: nothing with secrets in it (environments), and little else. */
export function trimPod(pod: Pod): Pod {
  const { name, namespace, uid, resourceVersion, labels, deletionTimestamp, creationTimestamp } = pod.metadata;
  const { nodeName, containers, initContainers, volumes } = pod.spec;
  const { phase, podIP, podIPs, conditions, containerStatuses } = pod.status ?? {};
  return {
    metadata: defined({ name, namespace, uid, resourceVersion, labels, deletionTimestamp, creationTimestamp }),
    spec: defined({
      nodeName,
      containers: containers.map(trimContainer),
      initContainers: initContainers?.filter((c) => c.restartPolicy === "Always").map(trimContainer),
      volumes,
    }),
    status: defined({
      phase,
      podIP,
      podIPs,
      conditions: conditions?.filter((c) => c.type === "Ready"),
      containerStatuses: containerStatuses?.map(trimStatus),
    }),
  };
}

function trimStatus({ name, ready, restartCount, state }: ContainerStatus): ContainerStatus {
  const { startedAt } = state?.running ?? {};
  return { name, ready, restartCount, ...(startedAt === undefined ? {} : { state: { running: { startedAt } } }) };
}

function trimContainer({ name, image, command, args, ports, volumeMounts, restartPolicy }: Container): Container {
  return defined({ name, image, command, args, ports, volumeMounts, restartPolicy });
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as Defined<T>;
}

const FACTS = new WeakMap<Pod, PodFacts>();

/** The facts of a cached pod, read once. */
export function factsOf(pod: Pod): PodFacts {
  let facts = FACTS.get(pod);
  if (facts === undefined) {
    facts = podFacts(pod);
    FACTS.set(pod, facts);
  }
  return facts;
}
