import type { EndpointSlice } from "@aibrix/kube";
import { describe, expect, test } from "vitest";
import { type PodFacts, podFacts } from "../pods/facts.ts";
import { hasOtherPorts, planEngines } from "./engines.ts";
import { type Listed, planSlices } from "./slices.ts";

interface Given {
  readonly namespace?: string;
  readonly label?: string;
  readonly base?: string | undefined;
  readonly declared?: number;
  readonly ready?: boolean;
  readonly ip?: string | undefined;
  readonly terminating?: boolean;
  readonly finished?: boolean;
}

function pod(n: number, { namespace = "ns", label, declared, ready = true, terminating, finished, ...given }: Given = {}): PodFacts {
  const base = "base" in given ? given.base : "base";
  const labels = {
    ...(base === undefined ? {} : { "model.aibrix.ai/name": base }),
    ...(label === undefined ? {} : { "model.aibrix.ai/port": label }),
  };
  return podFacts({
    metadata: { name: `p${n}`, namespace, uid: `u${n}`, labels, ...(terminating && { deletionTimestamp: "2026-01-01T00:00:00Z" }) },
    spec: { containers: [{ name: "vllm", ...(declared === undefined ? {} : { ports: [{ containerPort: declared }] }) }] },
    status: {
      ...("ip" in given ? {} : { podIP: `10.0.0.${n}` }),
      phase: finished ? "Failed" : "Running",
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    },
  });
}

/** The slices of an adapter that has these pods. */
function adapterSlices(namespace: string, ...listed: readonly Listed[]): readonly EndpointSlice[] {
  return planSlices({ namespace, service: "lora", owner: undefined, port: 8000 }, listed, []).apply;
}

function addresses(pods: readonly PodFacts[], slices: readonly EndpointSlice[] = []): string[] {
  const { apply } = planEngines("aibrix-system", undefined, pods, slices, []);
  const all = apply.flatMap((s) => (s.endpoints ?? []).flatMap((e) => e.addresses.map((a) => `${a}:${s.ports?.[0]?.port}`)));
  return all.sort();
}

describe("aibrix-engines has", () => {
  const [a, b] = [pod(1), pod(2)];
  test.each<{ name: string; pods: readonly PodFacts[]; slices?: readonly EndpointSlice[]; want: readonly string[] }>([
    { name: "nothing without pods", pods: [], want: [] },
    {
      name: "pods that are ready and pods that are on their way",
      pods: [a, pod(2, { ready: false })],
      want: ["10.0.0.1:8000", "10.0.0.2:8000"],
    },
    { name: "no pod that ends or has ended", pods: [pod(1, { terminating: true }), pod(2, { finished: true })], want: [] },
    { name: "no pod without an address", pods: [pod(1, { ip: undefined })], want: [] },
    { name: "no pod without a base model", pods: [pod(1, { base: undefined })], want: [] },
    { name: "a pod at the port of its label", pods: [pod(1, { label: "9000", declared: 7000 })], want: ["10.0.0.1:9000"] },
    { name: "a pod at the port of its container", pods: [pod(1, { declared: 7000 })], want: ["10.0.0.1:7000"] },
    {
      name: "a pod once, where an adapter has it at its own port",
      pods: [a],
      slices: adapterSlices("ns", { pod: a, port: 8000 }),
      want: ["10.0.0.1:8000"],
    },
    {
      name: "a pod also at the port where an adapter has it",
      pods: [a, b],
      slices: adapterSlices("ns", { pod: a, port: 9001 }, { pod: b, port: 8000 }),
      want: ["10.0.0.1:8000", "10.0.0.1:9001", "10.0.0.2:8000"],
    },
    { name: "no pod that only a slice has", pods: [a], slices: adapterSlices("ns", { pod: b, port: 9001 }), want: ["10.0.0.1:8000"] },
    {
      name: "nothing that a slice says of another namespace's pod",
      pods: [a],
      slices: adapterSlices("other", { pod: a, port: 22 }),
      want: ["10.0.0.1:8000"],
    },
  ])("$name", ({ pods, slices, want }) => {
    expect(addresses(pods, slices)).toEqual(want);
  });

  test("what it has already: nothing is written", () => {
    const slices = adapterSlices("ns", { pod: a, port: 9001 });
    const { apply } = planEngines("aibrix-system", undefined, [a, b], slices, []);
    expect(apply).toHaveLength(2);
    expect(planEngines("aibrix-system", undefined, [b, a], slices, apply)).toEqual({ apply: [], delete: [] });
  });
});

test.each([
  { name: "its own port", given: pod(1), port: 8000, want: false },
  { name: "another port", given: pod(1), port: 9001, want: true },
  { name: "its label's port", given: pod(1, { label: "9001" }), port: 9001, want: false },
  { name: "any port, and nobody knows the pod", given: undefined, port: 9001, want: false },
])("a slice that has a pod at $name says something new: $want", ({ given, port, want }) => {
  const [slice] = adapterSlices("ns", { pod: pod(1), port });
  expect(slice && hasOtherPorts(slice, (key) => (key === "ns/p1" ? given : undefined))).toBe(want);
});

test("controllers of single namespaces keep their slices apart, by name and label", () => {
  const of = (watched: string | undefined) => planEngines("aibrix-system", watched, [pod(1)], [], []).apply[0]?.metadata;
  expect(of("ns")?.name).toBe("aibrix-engines-ns-ipv4-8000-0");
  expect(of("ns")?.labels).toMatchObject({ "model.aibrix.ai/watched-namespace": "ns", "kubernetes.io/service-name": "aibrix-engines" });
  expect(of(undefined)?.name).toBe("aibrix-engines-ipv4-8000-0");
  expect(Object.keys(of(undefined)?.labels ?? {})).not.toContain("model.aibrix.ai/watched-namespace");
});
