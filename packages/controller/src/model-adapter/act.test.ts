import { type KubeClient, type Pod, Store } from "@aibrix/kube";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type LoadCall, NOTHING_KNOWN, type UnloadCall } from "../engines/agent.ts";
import { PodCalls } from "../engines/calls.ts";
import { AgentPool } from "../engines/pool.ts";
import { Leftovers } from "../leftovers/leftovers.ts";
import { NOBODY_ELSE } from "../names/holders.ts";
import { delivery } from "../pods/delivery.ts";
import { enginePort, podFacts } from "../pods/facts.ts";
import { limitsOf } from "../pods/limits.ts";
import { act } from "./act.ts";
import { AdapterMemory } from "./memory.ts";
import { type Action, BOUNDS, type Observed, type ObservedPod } from "./types.ts";

const LOG = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const client = {} as KubeClient;
const leftovers = new Leftovers({ client, namespace: "aibrix-system", watched: undefined, log: LOG });
const DELETED_MS = Date.parse("2026-01-01T12:00:00Z");
const SECRETS = { kind: "ok", credentials: undefined, apiKey: undefined, version: "" } as const;
const ADAPTER = {
  metadata: { name: "x", namespace: "default", uid: "u-x" },
  spec: { podSelector: {}, artifactURL: "huggingface://acme/x" },
};

let stop: AbortController;
let agents: AgentPool;
let calls: PodCalls;

beforeEach(() => {
  stop = new AbortController();
  agents = new AgentPool({ runtimeSidecar: false, connect: () => "http://127.0.0.1:1", log: LOG, onChange: () => undefined });
  calls = new PodCalls({ log: LOG, signal: stop.signal, onDone: () => undefined });
});

afterEach(async () => {
  stop.abort();
  await calls.close();
  await agents.close();
});

function podOf(uid: string): Pod {
  return {
    metadata: { name: "p", namespace: "default", uid },
    spec: { containers: [{ name: "vllm" }, { name: "aibrix-runtime" }] },
    status: { phase: "Running", podIPs: [{ ip: "10.0.0.1" }] },
  };
}

test.each(
  (["load", "unload", "release"] as const).flatMap((kind) => [
    { kind, there: "the same pod", now: podOf("u-old"), started: kind, followed: 1 },
    { kind, there: "nothing", now: undefined, started: undefined, followed: 0 },
    { kind, there: "another of its name", now: podOf("u-new"), started: undefined, followed: 0 },
  ]),
)("$kind where $there is there by then", async ({ kind, now, started, followed }) => {
  const pods = new Store<Pod>({ onHandlerError: () => undefined });
  if (now !== undefined) pods.set(now);
  const pod = observedPod();
  const action: Action = kind === "unload" ? { kind, pod, swap: false } : { kind, pod };
  const caches = { pod: (key: string) => pods.get(key) };
  await act(action, observed(pod), SECRETS, new AdapterMemory(), { client, caches, agents, calls, leftovers }, stop.signal);
  expect([calls.state("u-old", "x").running, agents.size]).toEqual([started, followed]);
});

test.each([
  { what: "others serve: as long as the operator says", unrouted: true, alone: false, wanted: { drainSeconds: 30, probe: "auto" } },
  {
    what: "no other pod serves: less than the gateway holds requests, and it is in the slices as soon as it is loaded",
    unrouted: true,
    alone: true,
    wanted: { drainSeconds: 25, probe: "off" },
  },
  {
    what: "it stays in the slices: the sidecar finds the moment",
    unrouted: false,
    alone: true,
    wanted: { drainSeconds: undefined, probe: "auto" },
  },
])("how long requests may go on before new content takes the place of the old, where $what", async ({ unrouted, alone, wanted }) => {
  const told = Promise.withResolvers<LoadCall>();
  const agent = { load: async (call: LoadCall) => told.resolve(call) };
  const pool = { agent: () => agent } as unknown as AgentPool;
  const pod = { ...observedPod(), unrouted, alone };
  const deps = { client, caches: { pod: () => podOf("u-old") }, agents: pool, calls, leftovers };
  await act({ kind: "load", pod }, { ...observed(pod), probe: "auto" }, SECRETS, new AdapterMemory(), deps, stop.signal);
  expect(await told.promise).toMatchObject(wanted);
});

test.each([
  { what: "the key that serves", secrets: "store.key.1", proves: false },
  { what: "another key", secrets: "store.other.1", proves: true },
  { what: "no key any more", secrets: undefined, proves: true },
])("new content that comes with $what is prepared, and the key is tried: $proves", async ({ secrets, proves }) => {
  const told = Promise.withResolvers<LoadCall>();
  const agent = { prepare: async (call: LoadCall) => told.resolve(call) };
  const pool = { agent: () => agent } as unknown as AgentPool;
  const old = { refresh: undefined, digest: "sha256:1", revision: undefined, secrets: "store.key.1", resolvedMs: 0 };
  const content = { url: "huggingface://acme/y", refresh: undefined, secrets, digest: undefined, revision: undefined };
  const before = observedPod();
  const pod = { ...before, prepare: { content, delivery: before.delivery, fingerprint: "f", checks: false } };
  const o = observed(pod);
  const served = { ...old, url: ADAPTER.spec.artifactURL };
  const deps = { client, caches: { pod: () => podOf("u-old") }, agents: pool, calls, leftovers };
  const now = { ...o, rollout: { ...o.rollout, served } };
  await act({ kind: "prepare", pod }, now, SECRETS, new AdapterMemory(), deps, stop.signal);
  expect(await told.promise).toMatchObject({ artifactUrl: content.url, proves });
});

describe("how long requests may go on before an unload", () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ["Date"], now: DELETED_MS }));
  afterEach(() => void vi.useRealTimers());

  test.each([
    { what: "a deletion: the last five of thirty are for the unload", deleted: true, swap: false, waitsMs: 0, graceSeconds: 25 },
    { what: "a deletion that 64 others held up", deleted: true, swap: false, waitsMs: 24_500, graceSeconds: 1 },
    { what: "a deletion whose grace is over by its turn", deleted: true, swap: false, waitsMs: 31_000, graceSeconds: 0 },
    { what: "a pod that should no longer have it", deleted: false, swap: false, waitsMs: 10_000, graceSeconds: 20 },
    { what: "a path that changes: the gateway holds new ones no longer", deleted: false, swap: true, waitsMs: 0, graceSeconds: 25 },
  ])("$what", async ({ deleted, swap, waitsMs, graceSeconds }) => {
    const others = Promise.withResolvers<void>();
    const pod = observedPod();
    for (let i = 0; i < 64; i++)
      calls.start({
        kind: "unload",
        pod: pod.facts,
        name: `y-${i}`,
        fingerprint: "f",
        refusalFingerprint: "f",
        atOnce: 64,
        run: () => others.promise,
      });
    const told = Promise.withResolvers<UnloadCall>();
    const agent = { unload: async (call: UnloadCall) => told.resolve(call) };
    const deps = {
      client,
      caches: { pod: () => podOf("u-old") },
      agents: { agent: () => agent } as unknown as AgentPool,
      calls,
      leftovers,
    };
    const metadata = { ...ADAPTER.metadata, ...(deleted ? { deletionTimestamp: new Date(DELETED_MS).toISOString() } : {}) };
    const o = { ...observed(pod), adapter: { ...ADAPTER, metadata }, nowMs: DELETED_MS };
    await act({ kind: "unload", pod, swap }, o, SECRETS, new AdapterMemory(), deps, stop.signal);
    vi.setSystemTime(DELETED_MS + waitsMs);
    others.resolve();
    expect(await told.promise).toMatchObject({ graceSeconds, cleanup: deleted, swaps: swap });
  });
});

function observedPod(): ObservedPod {
  const facts = podFacts(podOf("u-old"));
  return {
    facts,
    matches: true,
    via: "direct",
    delivery: delivery(podOf("u-old"), { artifactURL: ADAPTER.spec.artifactURL, hasCredentials: false }, false),
    port: enginePort(facts),
    limits: limitsOf(facts.limits, undefined),
    refusal: undefined,
    left: undefined,
    adapterLabels: {},
    load: 0,
    content: { url: ADAPTER.spec.artifactURL, refresh: undefined, digest: undefined, revision: undefined },
    current: true,
    unrouted: false,
    alone: false,
    decided: true,
    weight: undefined,
    prepare: undefined,
    view: NOTHING_KNOWN,
    call: calls.state(facts.uid, "x"),
    fingerprint: "f",
    refusalFingerprint: "f",
  };
}

function observed(pod: ObservedPod): Observed {
  return {
    key: "default/x",
    namespace: "default",
    name: "x",
    adapter: ADAPTER,
    pods: [pod],
    rollout: {
      served: undefined,
      update: undefined,
      pods: new Map(),
      againAtMs: undefined,
      isEverywhere: true,
      isAnywhere: true,
      handled: { promote: undefined, abort: undefined },
      trials: undefined,
    },
    placed: ["p"],
    secretTrouble: undefined,
    usesSecrets: false,
    names: NOBODY_ELSE,
    probe: "auto",
    service: { kind: "missing" },
    slices: [],
    unwritten: undefined,
    bounds: BOUNDS,
    nowMs: 0,
  };
}
