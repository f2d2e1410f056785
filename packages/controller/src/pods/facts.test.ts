import type { Container, Pod } from "@aibrix/kube";
import { describe, expect, test } from "vitest";
import { enginePort, podFacts } from "./facts.ts";

interface Given {
  readonly engine?: Partial<Container>;
  readonly runtime?: Partial<Container>;
  readonly init?: Container;
  readonly more?: Container;
  readonly labels?: Record<string, string>;
  readonly status?: Pod["status"];
}

function pod({ engine, runtime, init, more, labels = {}, status }: Given): Pod {
  return {
    metadata: { name: "p", namespace: "default", uid: "u", labels },
    spec: {
      containers: [
        ...(more === undefined ? [] : [more]),
        { name: "vllm-openai", ...engine },
        ...(runtime === undefined ? [] : [{ name: "aibrix-runtime", ...runtime }]),
      ],
      ...(init === undefined ? {} : { initContainers: [init] }),
    },
    ...(status === undefined ? {} : { status }),
  };
}

const LABEL = "model.aibrix.ai/port";
const PORTS = { ports: [{ containerPort: 9000 }] };

test.each<{ name: string; given: Given; adapter?: Record<string, string>; want: number }>([
  { name: "its container's, beside a sidecar", given: { engine: PORTS, runtime: { ports: [{ containerPort: 8080 }] } }, want: 9000 },
  { name: "the adapter's label", given: { engine: PORTS }, adapter: { [LABEL]: "9004" }, want: 9004 },
  { name: "its pod's label", given: { engine: PORTS, labels: { [LABEL]: "9005" } }, adapter: { [LABEL]: "9004" }, want: 9005 },
])("the engine's port is $name", ({ given, adapter, want }) => {
  expect(enginePort(podFacts(pod(given)), adapter)).toBe(want);
});

describe("the sidecar's port", () => {
  test.each<{ name: string; given: Given; want: number | undefined }>([
    { name: "is missing where there is no sidecar", given: {}, want: undefined },
    { name: "is 8080 by itself", given: { runtime: {} }, want: 8080 },
    { name: "is that of --port N", given: { runtime: { command: ["aibrix_runtime", "--port", "8090"] } }, want: 8090 },
    {
      name: "is that of --port=N in a shell line",
      given: { runtime: { command: ["sh", "-c", "exec aibrix_runtime --port=8091"] } },
      want: 8091,
    },
    { name: "is the container's only one", given: { runtime: { ports: [{ containerPort: 8092 }] } }, want: 8092 },
    {
      name: "is found in an init container that never ends",
      given: { init: { name: "aibrix-runtime", restartPolicy: "Always", args: ["--port", "8093"] } },
      want: 8093,
    },
    { name: "is not that of an init container that ends", given: { init: { name: "aibrix-runtime" } }, want: undefined },
  ])("$name", ({ given, want }) => {
    expect(podFacts(pod(given)).runtimePort).toBe(want);
  });
});

test("addresses, readiness and labels", () => {
  const status = {
    phase: "Running",
    podIP: "10.0.0.1",
    podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }],
    conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" }],
  };
  const labels = { "adapter.model.aibrix.ai/enabled": "false", "model.aibrix.ai/engine": "sglang", "model.aibrix.ai/name": "base" };
  expect(podFacts(pod({ status, labels }))).toMatchObject({
    ip: "10.0.0.1",
    ipv4: "10.0.0.1",
    ipv6: "fd00::1",
    ready: true,
    readySinceMs: Date.parse("2026-01-01T00:00:00Z"),
    terminating: false,
    finished: false,
    enabled: false,
    engine: "sglang",
    baseModel: "base",
  });
  expect(podFacts(pod({}))).toMatchObject({ ip: undefined, ready: false, enabled: true, engine: "vllm" });
});
