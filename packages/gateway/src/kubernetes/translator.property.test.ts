import fc from "fast-check";
import { expect, test } from "vitest";
import { RoutingTable } from "../routing/table.ts";
import type { Found } from "../routing/types.ts";
import { type AdapterFacts, addressOf, type PodFacts, type SliceEntry, type SliceFacts } from "./facts.ts";
import { ClusterTranslator } from "./translator.ts";

// Few values, so that names, addresses and uids meet often.
const NAMESPACES = ["a", "b"];
const NAMES = ["x", "y", "z"];
const PODS = ["p1", "p2", "p3"];
const IPS = ["10.0.0.1", "10.0.0.2", "fd00::1"];

interface World {
  readonly pods: Map<string, PodFacts>;
  readonly slices: Map<string, SliceFacts>;
  readonly adapters: Map<string, AdapterFacts>;
  readonly engines: Map<string, readonly SliceEntry[]>;
}

type Event =
  | { readonly kind: "pod"; readonly key: string; readonly facts: PodFacts | undefined }
  | { readonly kind: "slice"; readonly key: string; readonly facts: SliceFacts | undefined }
  | { readonly kind: "engines"; readonly key: string; readonly facts: readonly SliceEntry[] | undefined }
  | { readonly kind: "adapter"; readonly key: string; readonly facts: AdapterFacts | undefined };

const namespaces = fc.constantFrom(...NAMESPACES);
const uids = fc.constantFrom("u1", "u2");
const ages = fc.integer({ min: 1, max: 3 });
const ports = fc.constantFrom(8000, 9000);
const gone = { freq: 3, nil: undefined };

const podEvents = namespaces.chain((namespace) =>
  fc.record({
    kind: fc.constant("pod" as const),
    key: fc.constantFrom(...PODS).map((name) => `${namespace}/${name}`),
    facts: fc.option(
      fc
        .record({
          namespace: fc.constant(namespace),
          uid: uids,
          baseModel: fc.constantFrom("x", "y", undefined),
          ips: fc.uniqueArray(fc.constantFrom(...IPS), { maxLength: 2 }),
          port: ports,
          ready: fc.boolean(),
          createdSec: ages,
        })
        .map((facts): PodFacts => ({ ...facts, ready: facts.ready && facts.ips.length > 0 })),
      gone,
    ),
  }),
);

const sliceEvents = namespaces.chain((namespace) =>
  fc.record({
    kind: fc.constant("slice" as const),
    key: fc.constantFrom("s1", "s2", "s3").map((name) => `${namespace}/${name}`),
    facts: fc.option(
      fc.record({
        adapter: fc.constantFrom(...NAMES).map((name) => `${namespace}/${name}`),
        entries: fc.array(
          fc.record({
            pod: fc.constantFrom(...PODS).map((name) => `${namespace}/${name}`),
            podUid: uids,
            ip: fc.constantFrom(...IPS),
            port: ports,
          }),
          { maxLength: 3 },
        ),
      }),
      gone,
    ),
  }),
);

const adapterEvents = fc
  .record({ namespace: namespaces, name: fc.constantFrom(...NAMES), there: fc.boolean() })
  .chain(({ namespace, name, there }) =>
    fc.record({
      kind: fc.constant("adapter" as const),
      key: fc.constant(`${namespace}/${name}`),
      facts: there
        ? fc.record({
            namespace: fc.constant(namespace),
            name: fc.constant(name),
            baseModel: fc.constantFrom("x", undefined),
            createdSec: ages,
            why: fc.constantFrom("it is Bound", "it is Failed"),
            swapping: fc.boolean(),
          })
        : fc.constant(undefined),
    }),
  );

// Mostly with much in it, or hardly anything would be routable.
const enginesEvents = fc.record({
  kind: fc.constant("engines" as const),
  key: fc.constantFrom("sys/e1", "sys/e2"),
  facts: fc.option(
    fc.subarray(
      NAMESPACES.flatMap((ns) =>
        PODS.flatMap((name) =>
          IPS.flatMap((ip) => [8000, 9000].map((port): SliceEntry => ({ pod: `${ns}/${name}`, podUid: "any", ip, port }))),
        ),
      ),
      { minLength: 12 },
    ),
    gone,
  ),
});

const events: fc.Arbitrary<Event[]> = fc.array(fc.oneof(podEvents, sliceEvents, adapterEvents, enginesEvents), {
  maxLength: 80,
  size: "max",
});

function apply(routes: ClusterTranslator, event: Event): void {
  if (event.kind === "pod") routes.pod(event.key, event.facts);
  else if (event.kind === "slice") routes.slice(event.key, event.facts);
  else if (event.kind === "engines") routes.enginesSlice(event.key, event.facts);
  else routes.adapter(event.key, event.facts);
}

function put<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

/** Of several pods that cannot be used any one's reason may be told. */
const POD_REASONS = ["its engine's pod is not ready", "the Service aibrix-engines does not list its engine's address yet"];

/** All that a table answers, without the order of addresses and of pods, which says nothing. */
function answers(table: RoutingTable): unknown {
  const scopes = [undefined, ...NAMESPACES, "nowhere"];
  return [
    table.counts(),
    ...scopes.flatMap((scope) =>
      NAMES.map((name) => {
        const found = table.find(name, scope);
        const { id, parent, createdSec } = table.card(name, scope) ?? {};
        return [name, scope, said(found), [id, parent, createdSec]];
      }),
    ),
  ];
}

function said(found: Found): unknown {
  if (found.kind === "routable") return [...found.addresses].sort();
  return found.kind === "notReady" && POD_REASONS.includes(found.why) ? "a pod's reason" : found;
}

function fromScratch({ pods, slices, adapters, engines }: World): RoutingTable {
  const table = new RoutingTable();
  const routes = new ClusterTranslator(table);
  for (const [key, facts] of adapters) routes.adapter(key, facts);
  for (const [key, facts] of slices) routes.slice(key, facts);
  for (const [key, facts] of pods) routes.pod(key, facts);
  for (const [key, facts] of engines) routes.enginesSlice(key, facts);
  return table;
}

/** What may be routed to at all for a name in a namespace, said without any index. */
function allowed({ pods, slices, adapters, engines }: World, namespace: string, name: string): Set<string> {
  const addresses = new Set<string>();
  const listed = (pod: string, ip: string, port: number): boolean =>
    [...engines.values()].flat().some((e) => e.pod === pod && e.ip === ip && e.port === port);
  for (const [key, pod] of pods) {
    const [ip] = pod.ips;
    if (pod.namespace !== namespace || pod.baseModel !== name || !pod.ready || ip === undefined) continue;
    if (listed(key, ip, pod.port)) addresses.add(addressOf(ip, pod.port));
  }
  if (!adapters.has(`${namespace}/${name}`)) return addresses;
  for (const { adapter, entries } of slices.values()) {
    for (const { pod: key, podUid, ip, port } of adapter === `${namespace}/${name}` ? entries : []) {
      const pod = pods.get(key);
      if (pod?.ready && listed(key, ip, port) && pod.uid === podUid && pod.ips.includes(ip) && pod.baseModel !== name)
        addresses.add(addressOf(ip, port));
    }
  }
  return addresses;
}

test("whatever comes and goes, in whatever order: the routes are those of the objects that are there", () => {
  fc.assert(
    fc.property(events, (list) => {
      const world: World = { pods: new Map(), slices: new Map(), adapters: new Map(), engines: new Map() };
      const table = new RoutingTable();
      const routes = new ClusterTranslator(table);
      for (const event of list) {
        apply(routes, event);
        if (event.kind === "pod") put(world.pods, event.key, event.facts);
        else if (event.kind === "slice") put(world.slices, event.key, event.facts);
        else if (event.kind === "engines") put(world.engines, event.key, event.facts);
        else put(world.adapters, event.key, event.facts);
        for (const [namespace, name] of NAMESPACES.flatMap((ns) => NAMES.map((n) => [ns, n] as const))) {
          const found = table.find(name, namespace);
          const may = allowed(world, namespace, name);
          if (found.kind === "routable") expect(found.addresses.filter((address) => !may.has(address))).toEqual([]);
        }
        expect(answers(table)).toEqual(answers(fromScratch(world)));
      }
    }),
    { numRuns: 300 },
  );
});
