import type { EndpointSlice, Pod } from "@aibrix/kube";
import { expect, test } from "vitest";
import { adapterFacts, enginesSliceFacts, podFacts, sliceFacts } from "./facts.ts";
import { type AdapterObject, trimAdapter, trimPod, trimSlice } from "./objects.ts";

const POD: Pod = {
  metadata: {
    name: "p",
    namespace: "ns",
    uid: "u",
    resourceVersion: "1",
    creationTimestamp: "2026-01-01T00:00:10Z",
    labels: { "model.aibrix.ai/name": "base", other: "x" },
    annotations: { secret: "s3cret" },
  },
  spec: { containers: [{ name: "c", env: [{ name: "KEY", value: "s3cret" }] }] },
  status: { phase: "Running", podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }], conditions: [{ type: "Ready", status: "True" }] },
};
const WANT = {
  namespace: "ns",
  uid: "u",
  baseModel: "base",
  ips: ["10.0.0.1"],
  port: 8000,
  ready: true,
  createdSec: Date.parse("2026-01-01T00:00:10Z") / 1000,
};
const labelled = (labels: Record<string, string>): Pod => ({ ...POD, metadata: { ...POD.metadata, labels } });
const engine = (...containers: Pod["spec"]["containers"]): Pod => ({ ...POD, spec: { containers } });
const SIDECAR = { name: "aibrix-runtime", ports: [{ containerPort: 8080 }] };
const port = (value: string): Pod => labelled({ "model.aibrix.ai/name": "base", "model.aibrix.ai/port": value });
const status = (more: Pod["status"]): Pod => ({ ...POD, status: { ...POD.status, ...more } });

test.each([
  { name: "is ready", pod: POD, want: WANT },
  { name: "has a port label", pod: port("9000"), want: { ...WANT, port: 9000 } },
  { name: "has a port label that is no port", pod: port("70000"), want: WANT },
  { name: "has a port label that is no number", pod: port("http"), want: WANT },
  { name: "declares a port", pod: engine({ name: "c", ports: [{ containerPort: 9000 }] }), want: { ...WANT, port: 9000 } },
  {
    name: "declares the sidecar's port and the engine's",
    pod: engine(SIDECAR, { name: "p" }, { name: "c", args: ["vllm", "--api-key=s3cret"], ports: [{ containerPort: 9000 }] }),
    want: { ...WANT, port: 9000 },
  },
  { name: "has a sidecar alone", pod: engine(SIDECAR), want: WANT },
  { name: "has an empty name label", pod: labelled({ "model.aibrix.ai/name": "" }), want: { ...WANT, baseModel: undefined } },
  {
    name: "is being deleted",
    pod: { ...POD, metadata: { ...POD.metadata, deletionTimestamp: "2026-01-01T00:00:20Z" } },
    want: { ...WANT, ready: false },
  },
  { name: "is not Ready", pod: status({ conditions: [{ type: "Ready", status: "False" }] }), want: { ...WANT, ready: false } },
  { name: "says nothing of Ready", pod: status({ conditions: [] }), want: { ...WANT, ready: false } },
  { name: "has no address", pod: status({ podIP: "", podIPs: [] }), want: { ...WANT, ips: [], ready: false } },
  {
    name: "has two families",
    pod: status({ podIP: "fd00::1", podIPs: [{ ip: "fd00::1" }, { ip: "10.0.0.1" }] }),
    want: { ...WANT, ips: ["fd00::1", "10.0.0.1"] },
  },
  { name: "has failed", pod: status({ phase: "Failed" }), want: undefined },
  { name: "has succeeded", pod: status({ phase: "Succeeded" }), want: undefined },
])("a pod that $name, as it is kept", ({ pod, want }) => {
  expect(podFacts(trimPod(pod))).toEqual(want);
  expect(JSON.stringify(trimPod(pod))).not.toContain("s3cret");
});

const TARGET = { kind: "Pod", namespace: "ns", name: "p", uid: "u" };
const ENDPOINT = { addresses: ["10.0.0.1"], conditions: { ready: true, serving: true, terminating: false }, targetRef: TARGET };
const ENTRY = { pod: "ns/p", podUid: "u", ip: "10.0.0.1", port: 8001 };

function slice(endpoint: object, more: Partial<EndpointSlice> = {}): EndpointSlice {
  const metadata = { name: "lora-1", namespace: "ns", labels: { "kubernetes.io/service-name": "lora", "more/labels": "x" } };
  const endpoints = [{ ...ENDPOINT, ...endpoint }] as EndpointSlice["endpoints"];
  return { metadata, addressType: "IPv4", endpoints, ports: [{ name: "http", port: 8001, protocol: "TCP" }], ...more };
}

test.each([
  { name: "names a ready pod", given: slice({}), want: [ENTRY] },
  { name: "says nothing of conditions", given: slice({ conditions: undefined }), want: [ENTRY] },
  { name: "names no namespace", given: slice({ targetRef: { kind: "Pod", name: "p", uid: "u" } }), want: [ENTRY] },
  { name: "is not ready", given: slice({ conditions: { ready: false } }), want: [] },
  { name: "terminates", given: slice({ conditions: { ready: true, terminating: true } }), want: [] },
  { name: "names no pod", given: slice({ targetRef: undefined }), want: [] },
  { name: "names something else", given: slice({ targetRef: { ...TARGET, kind: "Node" } }), want: [] },
  { name: "names a pod of another namespace", given: slice({ targetRef: { ...TARGET, namespace: "other" } }), want: [] },
  { name: "has no address", given: slice({ addresses: [] }), want: [] },
  { name: "has no port", given: slice({}, { ports: [] }), want: [] },
  { name: "has null for ports", given: slice({}, { ports: null }), want: [] },
  { name: "has null for endpoints", given: slice({}, { endpoints: null }), want: [] },
])("a slice whose endpoint $name, as it is kept", ({ given, want }) => {
  expect(sliceFacts(trimSlice(given))).toEqual({ adapter: "ns/lora", entries: want });
});

test.each([
  { weight: "5", want: 5 },
  { weight: "100", want: 100 },
  { weight: "0", want: 0 },
  { weight: "101", want: 0 },
  { weight: "5%", want: 0 },
  { weight: "", want: 0 },
])("a slice of pods with a content on trial, of weight '$weight', as it is kept", ({ weight, want }) => {
  const { metadata } = slice({});
  const annotations = { "adapter.model.aibrix.ai/canary-weight": weight, more: "x" };
  expect(sliceFacts(trimSlice(slice({}, { metadata: { ...metadata, annotations } })))).toEqual({
    adapter: "ns/lora",
    entries: [ENTRY],
    canaryWeight: want,
  });
});

test("a slice of aibrix-engines has pods of every namespace", () => {
  const given = (endpoint: object, more: Partial<EndpointSlice> = {}) => enginesSliceFacts(trimSlice(slice(endpoint, more)));
  expect(given({})).toEqual([ENTRY]);
  expect(given({ targetRef: { ...TARGET, namespace: "other" } })).toEqual([{ ...ENTRY, pod: "other/p" }]);
  expect(given({ conditions: { ready: false } })).toEqual([]);
  expect(given({}, { addressType: "FQDN" })).toEqual([]);
});

test.each([
  { name: "of names", given: slice({}, { addressType: "FQDN" }) },
  { name: "without a Service", given: slice({}, { metadata: { name: "x", namespace: "ns" } }) },
])("a slice $name is none", ({ given }) => {
  expect(sliceFacts(trimSlice(given))).toBeUndefined();
});

function adapter(ready: { status: string; reason: string } | undefined, phase?: string): AdapterObject {
  const conditions = [
    { type: "Initialized", status: "Unknown", reason: "ModelAdapterPending", message: "", lastTransitionTime: "" },
    ...(ready === undefined ? [] : [{ type: "Ready", message: "s3://s3cret", lastTransitionTime: "", ...ready }]),
  ];
  return {
    metadata: { name: "lora", namespace: "ns", creationTimestamp: "2026-01-01T00:00:10Z" },
    spec: {
      podSelector: { matchLabels: { a: "b" } },
      artifactURL: "s3://s3cret",
      baseModel: "base",
      additionalConfig: { "api-key": "s3cret" },
    },
    status: { conditions, ...(phase === undefined ? {} : { phase }) },
  } as AdapterObject;
}

test.each([
  { name: "is new", given: adapter(undefined), want: "it is Pending" },
  {
    name: "has failed",
    given: adapter({ status: "False", reason: "ArtifactNotFound" }, "Failed"),
    want: "it is Failed: the artifact does not exist where the artifactURL points (ArtifactNotFound)",
  },
  { name: "has a reason that nobody knows", given: adapter({ status: "False", reason: "Odd" }, "Bound"), want: "it is Bound (Odd)" },
  { name: "has a reason that is no word", given: adapter({ status: "False", reason: "a <b>" }, "Bound"), want: "it is Bound" },
  {
    name: "is Ready",
    given: adapter({ status: "True", reason: "ModelAdapterAvailable" }, "Running"),
    want: "no pod that serves it is ready and listed in the Service aibrix-engines",
  },
])("an adapter that $name says why it is not served, without the controller's own words", ({ given, want }) => {
  const kept = trimAdapter(given);
  expect(adapterFacts(kept)).toEqual({
    namespace: "ns",
    name: "lora",
    baseModel: "base",
    createdSec: WANT.createdSec,
    why: want,
    swapping: false,
  });
  expect(JSON.stringify(kept)).not.toContain("s3cret");
});

test.each([
  { ready: "ModelAdapterLoading", state: "Swapping", want: true },
  { ready: "ModelAdapterAvailable", state: "Swapping", want: true },
  { ready: "PodsNotReady", state: "Swapping", want: false },
  { ready: "EngineUnavailable", state: "Swapping", want: false },
  { ready: "ModelAdapterLoading", state: "Preparing", want: false },
  { ready: "ModelAdapterLoading", state: undefined, want: false },
])("an adapter that is $ready with an update that is $state: content takes another one's place: $want", ({ ready, state, want }) => {
  const given = adapter({ status: ready === "ModelAdapterAvailable" ? "True" : "False", reason: ready });
  const update = { state, artifactURL: "s3://s3cret", fingerprint: "s3cret", startTime: "2026-01-01T00:00:10Z", message: "s3cret" };
  const kept = trimAdapter({ ...given, status: { ...given.status, ...(state === undefined ? {} : { update }) } } as AdapterObject);
  expect(adapterFacts(kept).swapping).toBe(want);
  expect(JSON.stringify(kept)).not.toContain("s3cret");
});

const AT = "2026-01-01T00:01:00Z";

test.each([
  { name: "is refused, and the old one is put back", state: "Failed", ready: "ModelAdapterLoading", updated: "EngineRefused", want: true },
  {
    name: "is refused, which is seen before that nothing serves",
    state: "Failed",
    ready: "ModelAdapterLoading",
    awayAt: "2026-01-01T00:01:10Z",
    updated: "EngineRefused",
    want: true,
  },
  {
    name: "was refused, and an engine went later",
    state: "Failed",
    ready: "ModelAdapterLoading",
    awayAt: "2026-01-01T00:01:11Z",
    updated: "EngineRefused",
    want: false,
  },
  {
    name: "was refused, and the old one is served",
    state: "Failed",
    ready: "ModelAdapterAvailable",
    updated: "EngineRefused",
    want: false,
  },
  { name: "was refused, and so is the old one", state: "Failed", ready: "EngineRefused", updated: "EngineRefused", want: false },
  { name: "is taken back while it is served", state: undefined, ready: "ModelAdapterAvailable", updated: "UpdateRolling", want: true },
  { name: "is taken back, and nothing serves", state: undefined, ready: "ModelAdapterLoading", updated: "UpdateRolling", want: true },
  { name: "is taken back, and its pods are gone", state: undefined, ready: "PodsNotReady", updated: "UpdateRolling", want: false },
  { name: "is taken back while nothing serves", state: undefined, ready: "ModelAdapterLoading", updated: "Updated", want: true },
  {
    name: "is served for long, and an engine was started anew",
    state: undefined,
    ready: "ModelAdapterLoading",
    awayAt: "2026-01-02T00:00:00Z",
    updated: "Updated",
    want: false,
  },
  { name: "is fetched while an engine starts", state: "Preparing", ready: "ModelAdapterLoading", updated: "UpdatePreparing", want: false },
])("of an adapter whose new content $name, what was served comes back at once: $want", ({ state, ready, awayAt, updated, want }) => {
  const message = "s3://s3cret";
  const condition = (type: string, reason: string, status: string, lastTransitionTime: string) =>
    ({ type, reason, status, lastTransitionTime, message }) as const;
  const conditions = [
    condition("Ready", ready, ready === "ModelAdapterAvailable" ? "True" : "False", awayAt ?? "2026-01-01T00:00:58Z"),
    condition("Updated", updated, "Unknown", AT),
  ];
  const update = { state, artifactURL: "s3://s3cret", fingerprint: "f", startTime: AT };
  const { metadata, spec } = adapter(undefined);
  const kept = trimAdapter({ metadata, spec, status: { conditions, ...(state === undefined ? {} : { update }) } } as AdapterObject);
  expect(adapterFacts(kept).swapping).toBe(want);
  expect(JSON.stringify(kept)).not.toContain("s3cret");
});
