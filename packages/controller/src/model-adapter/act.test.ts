import { type KubeClient, type Pod, Store } from "@aibrix/kube";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NOTHING_KNOWN } from "../engines/agent.ts";
import { PodCalls } from "../engines/calls.ts";
import { AgentPool } from "../engines/pool.ts";
import { NOBODY_ELSE } from "../names/holders.ts";
import { delivery } from "../pods/delivery.ts";
import { enginePort, podFacts } from "../pods/facts.ts";
import { limitsOf } from "../pods/limits.ts";
import { act } from "./act.ts";
import { AdapterMemory } from "./memory.ts";
import { type Action, BOUNDS, type Observed, type ObservedPod } from "./types.ts";

const LOG = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
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
  const facts = podFacts(podOf("u-old"));
  const pod: ObservedPod = {
    facts,
    matches: true,
    via: "direct",
    delivery: delivery(podOf("u-old"), { artifactURL: ADAPTER.spec.artifactURL, hasCredentials: false }, false),
    port: enginePort(facts),
    limits: limitsOf(facts.limits, undefined),
    refusal: undefined,
    load: 0,
    view: NOTHING_KNOWN,
    call: calls.state(facts.uid, "x"),
    fingerprint: "f",
  };
  const o: Observed = {
    key: "default/x",
    namespace: "default",
    name: "x",
    adapter: ADAPTER,
    pods: [pod],
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
  const action: Action = { kind, pod };
  await act(
    action,
    o,
    SECRETS,
    new AdapterMemory(),
    { client: {} as KubeClient, caches: { pod: (key) => pods.get(key) }, agents, calls },
    stop.signal,
  );
  expect([calls.state("u-old", "x").running, agents.size]).toEqual([started, followed]);
});
