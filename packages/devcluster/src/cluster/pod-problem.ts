import { type ContainerStatus, conditionOf, fullName, type Pod } from "./objects.ts";

/** Why a pod is not Ready. */
export interface PodProblem {
  /** `namespace/name` */
  readonly pod: string;
  readonly container?: string;
  readonly image?: string;
  /** One word, Kubernetes' own where it has one: `Unschedulable`, `ImagePullBackOff`, `CrashLoopBackOff`, `NotReady`. */
  readonly state: string;
  readonly message: string;
}

/** Containers are about to start: no trouble yet. */
const STARTING = ["ContainerCreating", "PodInitializing"];
const IMAGE_STATES = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"];

/** What keeps a pod from being Ready; `undefined` where it is, or where it has done its work. Pure. */
export function podProblem({ metadata, status }: Pod): PodProblem | undefined {
  const pod = fullName(metadata);
  const ready = conditionOf(status?.conditions, "Ready");
  if (status?.phase === "Succeeded" || ready?.status === "True") return undefined;
  if (metadata.deletionTimestamp !== undefined) return { pod, state: "Terminating", message: "it is being deleted" };
  const scheduled = conditionOf(status?.conditions, "PodScheduled");
  if (scheduled?.status === "False") return { pod, state: scheduled.reason ?? "Unschedulable", message: scheduled.message ?? "" };
  if (status?.reason !== undefined) return { pod, state: status.reason, message: status.message ?? "" };
  const containers = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  const found = containers.map((c) => containerProblem(pod, c)).filter((p) => p !== undefined);
  // A container that only waits for its turn says less than the one that it waits for.
  return (
    found.find((p) => !STARTING.includes(p.state)) ?? found[0] ?? { pod, state: status?.phase ?? "Pending", message: "not started yet" }
  );
}

/** Whether the image cannot be had: waiting longer rarely helps. */
export function isImageProblem({ state }: PodProblem): boolean {
  return IMAGE_STATES.includes(state);
}

function containerProblem(pod: string, { name, image, ready, restartCount, state, lastState }: ContainerStatus): PodProblem | undefined {
  const at = { pod, container: name, image };
  const last = lastState?.terminated;
  const before = last === undefined ? "" : `ended ${times(restartCount)}, last with ${ending(last)}`;
  if (state?.waiting !== undefined) {
    const { reason = "Waiting", message } = state.waiting;
    return { ...at, state: reason, message: [before, message].filter(Boolean).join("; ") };
  }
  if (state?.terminated !== undefined) {
    const { exitCode, reason, message } = state.terminated;
    if (exitCode === 0 && reason === "Completed" && ready) return undefined; // An init container that has done its work.
    return {
      ...at,
      state: reason ?? "Terminated",
      message: [`ended with ${ending(state.terminated)}`, message].filter(Boolean).join("; "),
    };
  }
  if (ready) return undefined;
  return { ...at, state: "NotReady", message: ["runs, but its readiness probe does not pass", before].filter(Boolean).join("; ") };
}

function ending({ exitCode, reason }: { readonly exitCode: number; readonly reason?: string }): string {
  return reason === undefined || reason === "Error" ? `exit code ${exitCode}` : `exit code ${exitCode} (${reason})`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
