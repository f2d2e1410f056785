import { expect, test } from "vitest";
import { adapterPort, type DeclaredContainer, declaredPort, engineContainer, enginePort } from "./engine-port.ts";

const LABEL = "model.aibrix.ai/port";
const SIDECAR: DeclaredContainer = { name: "aibrix-runtime", image: "aibrix/runtime:v1", ports: [{ containerPort: 8080 }] };
const ENGINE: DeclaredContainer = { name: "vllm-openai", image: "vllm/vllm-openai:v0.7.1", ports: [{ containerPort: 8000 }] };

interface Given {
  readonly containers?: readonly DeclaredContainer[];
  readonly pod?: Record<string, string>;
  readonly adapter?: Record<string, string>;
}
const engine = (ports: DeclaredContainer["ports"]): readonly DeclaredContainer[] => [{ name: "vllm", ...(ports && { ports }) }];

test.each<Given & { name: string; want: number }>([
  { name: "is 8000 where nobody says anything", want: 8000 },
  { name: "of the documented manifests is 8000", containers: [ENGINE, SIDECAR], adapter: { [LABEL]: "8000" }, want: 8000 },
  { name: "is not the sidecar's", containers: [SIDECAR], want: 8000 },
  { name: "is not the sidecar's, which comes first", containers: [SIDECAR, { ...ENGINE, ports: [{ containerPort: 9000 }] }], want: 9000 },
  { name: "is the container's only one", containers: engine([{ containerPort: 9000 }]), want: 9000 },
  {
    name: "is the one named http of several",
    containers: engine([
      { name: "metrics", containerPort: 1 },
      { name: "http", containerPort: 9001 },
    ]),
    want: 9001,
  },
  {
    name: "is the one named serve-… of several",
    containers: engine([
      { name: "a", containerPort: 1 },
      { name: "serve-v1", containerPort: 9002 },
    ]),
    want: 9002,
  },
  { name: "is 8000 where several say nothing", containers: engine([{ containerPort: 1 }, { containerPort: 2 }]), want: 8000 },
  { name: "passes over UDP", containers: engine([{ containerPort: 1, protocol: "UDP" }, { containerPort: 9003 }]), want: 9003 },
  {
    name: "is the adapter's label before the container's",
    containers: engine([{ containerPort: 9000 }]),
    adapter: { [LABEL]: "9004" },
    want: 9004,
  },
  {
    name: "is the pod's label before all",
    containers: engine([{ containerPort: 9000 }]),
    pod: { [LABEL]: "9005" },
    adapter: { [LABEL]: "9004" },
    want: 9005,
  },
  { name: "is not a label that is no port", pod: { [LABEL]: "http" }, adapter: { [LABEL]: "70000" }, want: 8000 },
  {
    name: "is that of the container that runs vLLM, not of a helper before it",
    containers: [
      { name: "proxy", ports: [{ containerPort: 15001 }] },
      { name: "main", args: ["exec vllm serve x"], ports: [{ containerPort: 9006 }] },
    ],
    want: 9006,
  },
])("an engine's port $name", ({ containers = [], pod = {}, adapter, want }) => {
  expect(enginePort(pod, declaredPort(engineContainer(containers)), adapter)).toBe(want);
});

test.each([
  { labels: { [LABEL]: "8001" }, want: 8001 },
  { labels: {}, want: 8000 },
  { labels: { [LABEL]: "0" }, want: 8000 },
])("a Service's port for $labels is $want", ({ labels, want }) => {
  expect(adapterPort(labels)).toBe(want);
});
