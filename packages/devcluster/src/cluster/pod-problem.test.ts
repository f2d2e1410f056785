import { expect, test } from "vitest";
import { describe } from "./diagnose.ts";
import type { ContainerStatus, Pod } from "./objects.ts";
import { isImageProblem, podProblem } from "./pod-problem.ts";

const metadata = { name: "p", namespace: "n" };
const container = (fields: Partial<ContainerStatus>): ContainerStatus => ({
  name: "c",
  image: "i",
  ready: false,
  restartCount: 0,
  ...fields,
});
const pod = (status: Pod["status"]): Pod => ({ metadata, ...(status === undefined ? {} : { status }) });
const notReady = [{ type: "Ready", status: "False" }];

test.each([
  { name: "Ready", status: { conditions: [{ type: "Ready", status: "True" }] } },
  { name: "done", status: { phase: "Succeeded", conditions: notReady } },
])("a pod that is $name has no problem", ({ status }) => {
  expect(podProblem(pod(status))).toBeUndefined();
});

test.each([
  {
    name: "no node",
    status: { conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "Insufficient nvidia.com/gpu" }] },
    says: { state: "Unschedulable", message: "Insufficient nvidia.com/gpu" },
  },
  { name: "evicted", status: { phase: "Failed", reason: "Evicted", message: "low on memory" }, says: { state: "Evicted" } },
  {
    name: "no image",
    status: { containerStatuses: [container({ state: { waiting: { reason: "ImagePullBackOff", message: "not found" } } })] },
    says: { container: "c", image: "i", state: "ImagePullBackOff", message: "not found" },
  },
  {
    name: "crashing",
    status: {
      containerStatuses: [
        container({
          restartCount: 3,
          state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 40s" } },
          lastState: { terminated: { exitCode: 137, reason: "OOMKilled" } },
        }),
      ],
    },
    says: { state: "CrashLoopBackOff", message: "ended 3 times, last with exit code 137 (OOMKilled); back-off 40s" },
  },
  {
    name: "ended",
    status: { containerStatuses: [container({ state: { terminated: { exitCode: 1, reason: "Error" } } })] },
    says: { state: "Error", message: "ended with exit code 1" },
  },
  {
    name: "unready",
    status: { conditions: notReady, containerStatuses: [container({ state: { running: {} } })] },
    says: { state: "NotReady", message: "runs, but its readiness probe does not pass" },
  },
  {
    name: "waiting for its init container",
    status: {
      initContainerStatuses: [
        container({ name: "done", ready: true, state: { terminated: { exitCode: 0, reason: "Completed" } } }),
        container({ name: "init", state: { waiting: { reason: "ErrImagePull" } } }),
      ],
      containerStatuses: [container({ state: { waiting: { reason: "PodInitializing" } } })],
    },
    says: { container: "init", state: "ErrImagePull" },
  },
  { name: "new", status: undefined, says: { state: "Pending", message: "not started yet" } },
])("a pod that is $name: $says.state", ({ status, says }) => {
  expect(podProblem(pod(status))).toMatchObject({ pod: "n/p", ...says });
});

test("a pod that is being deleted says so and nothing else", () => {
  const going = { metadata: { ...metadata, deletionTimestamp: "2026-01-01T00:00:00Z" }, status: { conditions: notReady } };
  expect(podProblem(going)).toMatchObject({ state: "Terminating" });
});

test("images that cannot be had are told from other trouble", () => {
  const states = ["ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"];
  expect(states.map((state) => isImageProblem({ pod: "p", state, message: "" }))).toEqual([true, true, false]);
});

test("a Deployment's trouble names pod, state, warnings and last lines", () => {
  const deployment = { metadata: { name: "d", namespace: "n" }, spec: { selector: {} } };
  const problem = { pod: "n/p", container: "c", state: "CrashLoopBackOff", message: "ended once" };
  const event = { involvedObject: { kind: "Pod", name: "p" }, type: "Warning", reason: "BackOff", message: "again in 10s" };
  expect(describe({ deployment, problem, events: [event], log: ["no such file"] })).toBe(`Deployment n/d is not Available.
Pod n/p, container c: CrashLoopBackOff: ended once
Its last warnings:
  BackOff: again in 10s
The end of its log:
  no such file`);
  const conditions = [{ type: "ReplicaFailure", status: "True", message: "exceeded quota" }];
  expect(describe({ deployment: { ...deployment, status: { conditions } }, problem: undefined, events: [], log: [] })).toBe(
    "Deployment n/d has no pod that is Ready: exceeded quota",
  );
});
