import { expect, test } from "vitest";
import { RoutingTable } from "../routing/table.ts";
import type { DeclarationSink, EngineChange, RoutingSink } from "../routing/types.ts";
import type { AdapterFacts, PodFacts, SliceEntry, SliceFacts } from "./facts.ts";
import { ClusterTranslator } from "./translator.ts";

/** Routes of a cluster where Envoy can connect to all that the tests name. */
function world() {
  const table = new RoutingTable();
  const routes = new ClusterTranslator(table);
  routes.enginesSlice("sys/all", EVERYWHERE);
  return { table, routes };
}

const pod = (n: number, more: Partial<PodFacts> = {}): PodFacts => ({
  namespace: "ns",
  uid: `u${n}`,
  baseModel: "base",
  ips: [`10.0.0.${n}`],
  port: 8000,
  ready: true,
  createdSec: n,
  ...more,
});
const entry = (n: number, more: Partial<SliceEntry> = {}): SliceEntry => ({
  pod: `ns/p${n}`,
  podUid: `u${n}`,
  ip: `10.0.0.${n}`,
  port: 8000,
  ...more,
});
const NAMES = ["ns/p1", "ns/p2", "ns/p3", "a/p", "b/p"];
const IPS = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::3"];
const EVERYWHERE = NAMES.flatMap((pod) =>
  IPS.flatMap((ip) => [8000, 9000, 9001].map((port): SliceEntry => ({ pod, podUid: "", ip, port }))),
);
const slice = (...entries: SliceEntry[]): SliceFacts => ({ adapter: "ns/lora", entries });
const LORA: AdapterFacts = { namespace: "ns", name: "lora", baseModel: undefined, createdSec: 50, why: "it is Bound", swapping: false };

const routable = (...addresses: string[]) => ({ kind: "routable", addresses });
const notReady = (why: string) => ({ kind: "notReady", why });
const POD_NOT_READY = notReady("its engine's pod is not ready");

test.each([
  { name: "ready pods", pods: [pod(1), pod(2, { port: 9000 })], want: routable("10.0.0.1:8000", "10.0.0.2:9000") },
  { name: "an IPv6 pod", pods: [pod(1, { ips: ["fd00::1", "10.0.0.1"] })], want: routable("[fd00::1]:8000") },
  { name: "a ready pod and one that is not", pods: [pod(1, { ready: false }), pod(2)], want: routable("10.0.0.2:8000") },
  { name: "no ready pod", pods: [pod(1, { ready: false })], want: POD_NOT_READY },
  { name: "a pod without an address", pods: [pod(1, { ready: false, ips: [] })], want: POD_NOT_READY },
  { name: "no pod", pods: [pod(1, { baseModel: undefined })], want: { kind: "unknown" } },
])("a base model with $name", ({ pods, want }) => {
  const { table, routes } = world();
  for (const [i, facts] of pods.entries()) routes.pod(`ns/p${i + 1}`, facts);
  expect(table.find("base")).toEqual(want);
});

test.each([
  { name: "names a ready pod", slices: [slice(entry(1))], want: routable("10.0.0.1:8000") },
  { name: "has another port than the base model", slices: [slice(entry(1, { port: 9001 }))], want: routable("10.0.0.1:9001") },
  { name: "names two pods of which one is ready", slices: [slice(entry(1), entry(2))], want: routable("10.0.0.1:8000") },
  {
    name: "is of two families",
    slices: [slice(entry(3, { ip: "fd00::3" })), slice(entry(3))],
    want: routable("10.0.0.3:8000"),
  },
  { name: "is IPv6 alone", slices: [slice(entry(3, { ip: "fd00::3" }))], want: routable("[fd00::3]:8000") },
  { name: "is empty", slices: [slice()], want: notReady("it is Bound") },
  { name: "does not exist", slices: [], want: notReady("it is Bound") },
  { name: "names a pod that is not ready", slices: [slice(entry(2))], want: notReady("it is Bound") },
  { name: "has an address that is not the pod's", slices: [slice(entry(1, { ip: "10.9.9.9" }))], want: notReady("it is Bound") },
  { name: "has another pod's address", slices: [slice(entry(1, { ip: "10.0.0.3" }))], want: notReady("it is Bound") },
  { name: "means an earlier pod of that name", slices: [slice(entry(1, { podUid: "before" }))], want: notReady("it is Bound") },
  { name: "names a pod that nobody watches", slices: [slice(entry(9))], want: notReady("it is Bound") },
])("an adapter whose slice $name", ({ slices, want }) => {
  const { table, routes } = world();
  routes.adapter("ns/lora", LORA);
  for (const [i, facts] of slices.entries()) routes.slice(`ns/lora-${i}`, facts);
  routes.pod("ns/p1", pod(1));
  routes.pod("ns/p2", pod(2, { ready: false }));
  routes.pod("ns/p3", pod(3, { ips: ["10.0.0.3", "fd00::3"] }));
  expect(table.find("lora")).toEqual(want);
});

test("pods with a content on trial are told apart by their slice, and one that moves between slices is one of them", () => {
  const { table, routes } = world();
  routes.adapter("ns/lora", LORA);
  for (const n of [1, 2, 3]) routes.pod(`ns/p${n}`, pod(n));
  const trial = (weight: number, ...entries: SliceEntry[]): SliceFacts => ({ ...slice(...entries), canaryWeight: weight });
  routes.slice("ns/lora-0", slice(entry(1), entry(2)));
  routes.slice("ns/lora-1", trial(5, entry(3)));
  const split = (addresses: string[], canaries: string[], weight: number) => ({
    ...routable(...addresses),
    canary: { addresses: canaries, weight, namespace: "ns" },
  });
  expect(table.find("lora")).toEqual(split(["10.0.0.1:8000", "10.0.0.2:8000"], ["10.0.0.3:8000"], 5));
  routes.slice("ns/lora-1", trial(25, entry(3)));
  expect(table.find("lora")).toEqual(split(["10.0.0.1:8000", "10.0.0.2:8000"], ["10.0.0.3:8000"], 25));
  routes.slice("ns/lora-1", trial(25, entry(2), entry(3)));
  expect(table.find("lora")).toEqual(split(["10.0.0.1:8000"], ["10.0.0.2:8000", "10.0.0.3:8000"], 25));
  routes.slice("ns/lora-0", slice());
  expect(table.find("lora")).toEqual(split([], ["10.0.0.2:8000", "10.0.0.3:8000"], 25));
  routes.slice("ns/lora-1", undefined);
  routes.slice("ns/lora-0", slice(entry(1)));
  expect(table.find("lora")).toEqual(routable("10.0.0.1:8000"));
});

test("an adapter whose content is swapped is known to be back soon, while no pod serves it", () => {
  const { table, routes } = world();
  routes.pod("ns/p1", pod(1));
  routes.adapter("ns/lora", { ...LORA, swapping: true });
  expect(table.find("lora")).toEqual({ ...notReady("it is Bound"), swapping: true });
  routes.slice("ns/lora-0", slice(entry(1)));
  expect(table.find("lora")).toEqual(routable("10.0.0.1:8000"));
  routes.slice("ns/lora-0", slice());
  routes.adapter("ns/lora", LORA);
  expect(table.find("lora")).toEqual(notReady("it is Bound"));
});

test("an adapter comes, moves, loses its pod and goes", () => {
  const { table, routes } = world();
  const found = () => table.find("lora");
  routes.slice("ns/lora-0", slice(entry(1)));
  routes.pod("ns/p1", pod(1));
  routes.pod("ns/p2", pod(2));
  expect(found()).toEqual({ kind: "unknown" }); // A slice alone makes no adapter.
  routes.adapter("ns/lora", LORA);
  expect(found()).toEqual(routable("10.0.0.1:8000"));
  routes.slice("ns/lora-1", slice(entry(2)));
  routes.slice("ns/lora-0", slice());
  expect(found()).toEqual(routable("10.0.0.2:8000"));
  routes.pod("ns/p2", pod(2, { ready: false }));
  expect(found()).toEqual(notReady("it is Bound"));
  routes.pod("ns/p2", pod(2));
  expect(found()).toEqual(routable("10.0.0.2:8000"));
  routes.pod("ns/p2", undefined);
  routes.pod("ns/p2", pod(2, { uid: "replaced" }));
  expect(found()).toEqual(notReady("it is Bound"));
  routes.slice("ns/lora-1", slice(entry(2, { podUid: "replaced" })));
  expect(found()).toEqual(routable("10.0.0.2:8000"));
  routes.adapter("ns/lora", { ...LORA, why: "it is Failed" });
  expect(found()).toEqual(routable("10.0.0.2:8000"));
  routes.slice("ns/lora-1", undefined);
  expect(found()).toEqual(notReady("it is Failed"));
  routes.slice("ns/lora-1", slice(entry(2, { podUid: "replaced" })));
  routes.adapter("ns/lora", undefined);
  expect(found()).toEqual({ kind: "unknown" });
});

test("an adapter stays at its slice's port when the pod's port label changes", () => {
  const { table, routes } = world();
  routes.adapter("ns/lora", LORA);
  routes.slice("ns/lora-0", slice(entry(1)));
  for (const port of [8000, 9000, 8000]) {
    routes.pod("ns/p1", pod(1, { port }));
    expect([table.find("lora"), table.find("base")]).toEqual([routable("10.0.0.1:8000"), routable(`10.0.0.1:${port}`)]);
  }
});

test("a card shows the base model of the ModelAdapter, else of its pod", () => {
  const { table, routes } = world();
  routes.adapter("ns/lora", LORA);
  routes.slice("ns/lora-0", slice(entry(1)));
  expect(table.cards()).toEqual([]);
  routes.pod("ns/p1", pod(1));
  expect(table.cards()).toMatchObject([
    { id: "base", root: "base", createdSec: 1 },
    { id: "lora", root: "lora", parent: "base", createdSec: 50 },
  ]);
  routes.adapter("ns/lora", { ...LORA, baseModel: "said" });
  expect(table.card("lora")?.parent).toBe("said");
});

/** The adapter `lora` and the base model `base` in two namespaces, each on a pod of its own. */
function twoNamespaces(ageSec: { readonly a: number; readonly b: number }) {
  const { table, routes } = world();
  for (const [namespace, n] of [
    ["b", 2],
    ["a", 1],
  ] as const) {
    const createdSec = ageSec[namespace];
    routes.pod(`${namespace}/p`, pod(n, { namespace, createdSec }));
    routes.adapter(`${namespace}/lora`, { ...LORA, namespace, createdSec });
    routes.slice(`${namespace}/lora-0`, { adapter: `${namespace}/lora`, entries: [entry(n, { pod: `${namespace}/p` })] });
  }
  return { table, routes };
}

test.each([
  { name: "the older", ages: { a: 20, b: 10 }, holder: "b" },
  { name: "of two of an age the first by name", ages: { a: 10, b: 10 }, holder: "a" },
])("of two namespaces $name holds a name; each is reached by its own", ({ ages, holder }) => {
  const { table, routes } = twoNamespaces(ages);
  const addresses = { a: routable("10.0.0.1:8000"), b: routable("10.0.0.2:8000") };
  for (const name of ["base", "lora"]) {
    expect(table.find(name)).toEqual(addresses[holder as "a" | "b"]);
    expect(table.find(name, "a")).toEqual(addresses.a);
    expect(table.find(name, "b")).toEqual(addresses.b);
    expect(table.find(name, "c")).toEqual({ kind: "unknown" });
  }
  expect(table.cards().map((c) => c.id)).toEqual(["base", "lora"]);
  expect(table.cards("a").map((c) => c.createdSec)).toEqual([ages.a, ages.a]);
  // The holder keeps the name while it cannot serve: requests never change over to somebody else's model by themselves.
  routes.pod(`${holder}/p`, pod(holder === "a" ? 1 : 2, { namespace: holder, createdSec: 10, ready: false }));
  expect(table.find("lora")).toEqual(notReady("it is Bound"));
  expect(table.find("base")).toEqual(POD_NOT_READY);
  expect(table.cards()).toEqual([]);
  const other = holder === "a" ? "b" : "a";
  expect(table.find("lora", other)).toEqual(addresses[other]);
  routes.adapter(`${holder}/lora`, undefined);
  routes.pod(`${holder}/p`, undefined);
  expect([table.find("lora"), table.find("base")]).toEqual([addresses[other], addresses[other]]);
});

test("an adapter and a base model of one name and namespace: the base model holds it, and they never mix", () => {
  const { table, routes } = world();
  routes.pod("ns/p1", pod(1, { baseModel: "lora", createdSec: 60 }));
  routes.pod("ns/p2", pod(2));
  routes.adapter("ns/lora", LORA);
  routes.slice("ns/lora-0", slice(entry(1), entry(2)));
  for (const createdSec of [50, 70]) {
    routes.adapter("ns/lora", { ...LORA, createdSec });
    expect(table.find("lora")).toEqual(routable("10.0.0.1:8000"));
    expect(table.find("lora", "ns")).toEqual(routable("10.0.0.1:8000"));
  }
  routes.pod("ns/p1", pod(1));
  expect(table.find("lora")).toEqual(routable("10.0.0.2:8000", "10.0.0.1:8000"));
  routes.pod("ns/p1", pod(1, { baseModel: "lora", createdSec: 60 }));
  expect(table.find("lora")).toEqual(routable("10.0.0.1:8000"));
});

test("a change costs what it touches: a pod's readiness one update with 1,000 adapters on it, a slice that adapter's entries", () => {
  const updates: EngineChange["type"][] = [];
  const sink: RoutingSink & DeclarationSink = {
    update: (_, change) => void updates.push(change.type),
    remove: () => undefined,
    declare: () => undefined,
    retract: () => undefined,
  };
  const routes = new ClusterTranslator(sink);
  routes.enginesSlice("sys/all", [entry(1), entry(2)]);
  for (const n of [1, 2]) routes.pod(`ns/p${n}`, pod(n));
  for (let i = 0; i < 1_000; i++) {
    routes.adapter(`ns/l${i}`, { ...LORA, name: `l${i}` });
    routes.slice(`ns/l${i}-0`, { adapter: `ns/l${i}`, entries: [entry(1)] });
  }
  const costs = (change: () => void): EngineChange["type"][] => {
    updates.length = 0;
    change();
    return [...updates];
  };
  expect(costs(() => routes.pod("ns/p1", pod(1, { ready: false })))).toEqual(["engine"]);
  expect(costs(() => routes.pod("ns/p1", pod(1, { ready: false })))).toEqual([]);
  expect(costs(() => routes.slice("ns/l7-0", { adapter: "ns/l7", entries: [entry(1), entry(2)] }))).toEqual(["model"]);
  expect(costs(() => routes.adapter("ns/l7", { ...LORA, name: "l7", why: "it is Failed" }))).toEqual([]);
  expect(costs(() => routes.enginesSlice("sys/all", [entry(2)]))).toEqual([]); // The pod is not ready anyhow.
  expect(costs(() => routes.enginesSlice("sys/all", [entry(1)]))).toEqual(["engine"]);
  expect(costs(() => routes.enginesSlice("sys/all", [entry(1), entry(1, { port: 9001 })]))).toEqual([]);
});

const NOT_LISTED = notReady("the Service aibrix-engines does not list its engine's address yet");
const NO_LIST = notReady(
  "the Service aibrix-engines has no EndpointSlices: the controller, which writes them, is not running or cannot write",
);

test("only what aibrix-engines has is routed to, and the reason says so", () => {
  const table = new RoutingTable();
  const routes = new ClusterTranslator(table);
  const found = () => [table.find("base"), table.find("lora")];
  routes.pod("ns/p1", pod(1));
  routes.adapter("ns/lora", LORA);
  routes.slice("ns/lora-0", slice(entry(1)));
  expect(found()).toEqual([NO_LIST, NO_LIST]);
  routes.enginesSlice("sys/e1", []);
  expect(found()).toEqual([NOT_LISTED, notReady("it is Bound")]);
  routes.enginesSlice("sys/e1", [entry(2)]);
  expect(found()).toEqual([NOT_LISTED, notReady("it is Bound")]);
  routes.enginesSlice("sys/e2", [entry(1)]);
  expect(found()).toEqual([routable("10.0.0.1:8000"), routable("10.0.0.1:8000")]);
  // In two slices for a moment, as it moves from one to the other.
  routes.enginesSlice("sys/e1", [entry(1)]);
  routes.enginesSlice("sys/e2", undefined);
  expect(found()).toEqual([routable("10.0.0.1:8000"), routable("10.0.0.1:8000")]);
  // Another pod at that address is not this one.
  routes.enginesSlice("sys/e1", [entry(1, { pod: "ns/p2" })]);
  expect(found()).toEqual([NOT_LISTED, notReady("it is Bound")]);
  routes.enginesSlice("sys/e1", undefined);
  expect(found()).toEqual([NO_LIST, NO_LIST]);
});

test("an adapter at another port than its pod's waits for that port", () => {
  const table = new RoutingTable();
  const routes = new ClusterTranslator(table);
  routes.enginesSlice("sys/e1", [entry(1)]);
  routes.pod("ns/p1", pod(1));
  routes.adapter("ns/lora", LORA);
  routes.slice("ns/lora-0", slice(entry(1, { port: 9001 })));
  expect([table.find("base"), table.find("lora")]).toEqual([routable("10.0.0.1:8000"), notReady("it is Bound")]);
  routes.enginesSlice("sys/e2", [entry(1, { port: 9001 })]);
  expect([table.find("base"), table.find("lora")]).toEqual([routable("10.0.0.1:8000"), routable("10.0.0.1:9001")]);
  routes.enginesSlice("sys/e2", undefined);
  expect([table.find("base"), table.find("lora")]).toEqual([routable("10.0.0.1:8000"), notReady("it is Bound")]);
});
