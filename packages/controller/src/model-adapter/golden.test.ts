import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EndpointSlice } from "@aibrix/kube";
import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { listedIn, onTrialIn } from "../endpoints/slices.ts";
import { type AdapterView, NOTHING_KNOWN, type PodView } from "../engines/agent.ts";
import { type CallState, SETTLE_MS } from "../engines/calls.ts";
import { type NameFacts, NOBODY_ELSE } from "../names/holders.ts";
import { delivery } from "../pods/delivery.ts";
import { enginePort, podFacts } from "../pods/facts.ts";
import { limitsOf } from "../pods/limits.ts";
import { observedPod, rolloutPod, type SeenPod } from "./observe.ts";
import { plan } from "./plan.ts";
import { rollout } from "./rollout/rollout.ts";
import { status } from "./status.ts";
import {
  BOUNDS,
  type ModelAdapterObject,
  type Observed,
  type ObservedLeftover,
  type ObservedService,
  type Plan,
  type Refusal,
  type SecretTrouble,
} from "./types.ts";

/*
 * A case is two files in testdata: NAME.in.yaml, what is observed, and NAME.out.yaml, what is planned and what the status says.
 * UPDATE_GOLDEN=1 writes the second ones; read what changed.
 */
const DIR = join(import.meta.dirname, "testdata");
const NOW = Date.parse("2026-01-01T12:00:00Z");

interface PodCase {
  readonly name: string;
  readonly labels?: Record<string, string>;
  readonly node?: string;
  readonly ready?: boolean;
  readonly readySince?: string;
  readonly terminating?: boolean;
  readonly engineStarted?: string;
  readonly matches?: boolean;
  readonly via?: "sidecar" | "direct";
  /** In direct mode: it has a sidecar all the same. */
  readonly sidecar?: boolean;
  readonly volume?: boolean;
  readonly load?: number;
  readonly view?: Partial<Omit<PodView, "adapters">> & {
    readonly adapters?: readonly (Partial<AdapterView> & { readonly name: string })[];
  };
  readonly call?: Partial<CallState>;
  readonly refusal?: Refusal;
  readonly left?: ObservedLeftover;
  /** Its sidecar gives contents to others. */
  readonly gives?: boolean;
}

interface Case {
  readonly why: string;
  readonly adapter: Partial<ModelAdapterObject> | null;
  readonly pods?: readonly PodCase[];
  readonly placed?: readonly string[];
  readonly secretTrouble?: SecretTrouble;
  /** What the secrets that are declared are called, see `rollout/secrets.ts`. */
  readonly secretsName?: string;
  readonly names?: Partial<NameFacts>;
  readonly service?: ObservedService["kind"];
  readonly probe?: "auto" | "off";
  readonly slices?: readonly EndpointSlice[];
  /** Why none of the writes was taken. */
  readonly unwritten?: string;
  /** What is observed the next time, with the status that was written before. */
  readonly next?: Omit<Case, "why" | "adapter">;
}

function adapterOf(given: Partial<ModelAdapterObject>): ModelAdapterObject {
  const { metadata, spec, ...rest } = given;
  return {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    ...rest,
    metadata: {
      name: "x",
      namespace: "default",
      uid: "u-x",
      generation: 1,
      finalizers: ["adapter.model.aibrix.ai/finalizer"],
      labels: { "model.aibrix.ai/name": "x" },
      ...metadata,
    },
    spec: { podSelector: { matchLabels: { "model.aibrix.ai/name": "base" } }, artifactURL: "huggingface://acme/x", ...spec },
  };
}

function podOf(c: PodCase, adapter: ModelAdapterObject): SeenPod {
  const mount = c.volume === true ? [{ name: "adapters", mountPath: "/tmp/aibrix/adapters" }] : [];
  const pod = {
    metadata: {
      name: c.name,
      namespace: "default",
      uid: `u-${c.name}`,
      labels: { "model.aibrix.ai/name": "base", ...c.labels },
      ...(c.terminating === true ? { deletionTimestamp: "2026-01-01T11:59:59Z" } : {}),
    },
    spec: {
      nodeName: c.node ?? "node-1",
      containers: [
        { name: "vllm", ports: [{ containerPort: 8000 }], volumeMounts: mount },
        ...(c.via === "direct" && c.sidecar !== true ? [] : [{ name: "aibrix-runtime", volumeMounts: mount }]),
      ],
      volumes: c.volume === true ? [{ name: "adapters", emptyDir: {} }] : [],
    },
    status: {
      phase: "Running",
      ...(c.engineStarted === undefined
        ? {}
        : { containerStatuses: [{ name: "vllm", ready: true, restartCount: 1, state: { running: { startedAt: c.engineStarted } } }] }),
      podIPs: [{ ip: `10.0.0.${c.name.charCodeAt(0) - 96}` }],
      conditions: [
        { type: "Ready", status: c.ready === false ? "False" : "True", lastTransitionTime: c.readySince ?? "2026-01-01T11:00:00Z" },
      ],
    },
  };
  const facts = podFacts(pod);
  const { adapters = [], ...view } = c.view ?? {};
  const entry = (a: Partial<AdapterView> & { name: string }): [string, AdapterView] => [a.name, { ...ENTRY, ...a }];
  return {
    facts,
    matches: c.matches ?? true,
    via: c.via ?? "sidecar",
    deliver: ({ url }) =>
      delivery(pod, { artifactURL: url, hasCredentials: adapter.spec.credentialsSecretRef !== undefined }, c.via !== "direct"),
    port: enginePort(facts),
    limits: limitsOf(facts.limits, view.engineLimits),
    load: c.load ?? 0,
    view: { ...NOTHING_KNOWN, knowledge: "fresh", engineReady: true, ...view, adapters: new Map(adapters.map(entry)) },
    call: callOf(c.call ?? {}),
    refusalOf: () => c.refusal,
    left: c.left,
    adapterLabels: adapter.metadata.labels ?? {},
    contentsUrl: c.gives === true ? `http://${facts.ip}:8080` : undefined,
    withSecrets: usesSecrets(adapter),
    fingerprintOf: () => "now",
    refusedAs: () => "now",
  };
}

function usesSecrets(adapter: ModelAdapterObject | undefined): boolean {
  return adapter?.spec.apiKeySecretRef !== undefined || adapter?.spec.credentialsSecretRef !== undefined;
}

/** What was accepted may be left out: then it was, once, and has its two seconds. */
function callOf(c: Partial<CallState>): CallState {
  const { done } = c;
  const settledAtMs = (done?.atMs ?? 0) + SETTLE_MS;
  const accepted =
    done === undefined ? {} : { [done.kind]: { fingerprint: done.fingerprint, times: 1, settledAtMs, againAtMs: settledAtMs } };
  return { running: undefined, done: undefined, accepted, failure: undefined, ...c };
}

const ENTRY: AdapterView = {
  name: "x",
  state: "Serving",
  serving: true,
  base: false,
  own: true,
  artifactUrl: "huggingface://acme/x",
  root: "acme/x",
  contentDigest: undefined,
  attempts: 0,
  reason: undefined,
  message: undefined,
  retryable: true,
  nextRetryTime: undefined,
};

function observed(c: Omit<Case, "why" | "adapter">, adapter: ModelAdapterObject | undefined): Observed {
  const kind = c.service ?? "ours";
  const port = { name: "http", port: 8000, targetPort: 8000, protocol: "TCP" };
  const labels = { "app.kubernetes.io/managed-by": "aibrix-controller-manager", "model.aibrix.ai/name": "x" };
  const service: ObservedService =
    kind === "ours"
      ? { kind, service: { metadata: { name: "x", labels }, spec: { clusterIP: "None", ports: [port] } } }
      : kind === "foreign"
        ? { kind, owner: "it selects the pods app=other" }
        : kind === "orphan"
          ? { kind, uid: "u-orphan" }
          : { kind };
  const seen = (c.pods ?? []).map((p) => podOf(p, adapter ?? adapterOf({})));
  const placed = c.placed ?? adapter?.status?.instances ?? [];
  const told = rollout({
    name: "x",
    adapter,
    pods: seen.map((p) =>
      rolloutPod(p, "x", adapter, new Set(placed), { listed: listedIn(c.slices ?? []), onTrial: onTrialIn(c.slices ?? []) }),
    ),
    secrets: "",
    secretsName: c.secretsName,
    secretTrouble: c.secretTrouble,
    nowMs: NOW,
  });
  return {
    key: "default/x",
    namespace: "default",
    name: "x",
    adapter,
    pods: seen.map((p) => observedPod(p, told)),
    rollout: told,
    placed,
    secretTrouble: c.secretTrouble,
    usesSecrets: usesSecrets(adapter),
    names: { ...NOBODY_ELSE, ...c.names },
    probe: c.probe ?? "auto",
    service,
    slices: c.slices ?? [],
    unwritten: undefined,
    bounds: BOUNDS,
    nowMs: NOW,
  };
}

/** What is there after the writes: all of them, or none. */
function afterWrites(o: Observed, p: Plan, unwritten: string | undefined): Observed {
  if (unwritten !== undefined) return { ...o, unwritten };
  const write = p.actions.find((a) => a.kind === "writeSlices");
  const gone = new Set([...(write?.changes.apply ?? []), ...(write?.changes.delete ?? [])].map((s) => s.metadata.name));
  const made = p.actions.find((a) => a.kind === "ensureService");
  return {
    ...o,
    service: made === undefined ? o.service : { kind: "ours", service: made.service },
    slices: [...o.slices.filter((s) => !gone.has(s.metadata.name)), ...(write?.changes.apply ?? [])],
  };
}

function outcome({ why, ...c }: Case): object {
  return { why, ...turn(c, c.adapter === null ? undefined : adapterOf(c.adapter)) };
}

function turn(c: Omit<Case, "why" | "adapter">, adapter: ModelAdapterObject | undefined): object {
  const o = observed(c, adapter);
  const p = plan(o);
  const actions = p.actions.map((a) => {
    switch (a.kind) {
      case "unload":
        return `${a.kind} ${a.pod.facts.name}${a.swap ? ", to load it anew" : ""}`;
      case "prepare":
        return `${a.kind} ${a.pod.facts.name}${a.pod.prepare?.checks === true ? ", with the checks" : ""}`;
      case "cancel":
        return `cancel what runs on ${a.pod.facts.name}`;
      case "load":
      case "release":
        return `${a.kind} ${a.pod.facts.name}${a.kind === "load" && a.pod.unrouted ? `, out of the slices${a.pod.alone ? ", alone" : ""}` : ""}`;
      case "writeSlices": {
        const list = (s: EndpointSlice) => `${s.metadata.name} [${(s.endpoints ?? []).flatMap((e) => e.addresses).join(" ")}]`;
        return [a.kind, ...a.changes.apply.map(list), ...a.changes.delete.map((s) => `-${s.metadata.name}`)].join(" ");
      }
      case "removeFinalizer":
        return [a.kind, ...(a.overdue ? ["overdue"] : []), ...a.leftOn].join(" ");
      default:
        return a.kind;
    }
  });
  const after = afterWrites(o, p, c.unwritten);
  const told = adapter === undefined ? undefined : status(after, adapter, p);
  const later = adapter === undefined || told === undefined ? undefined : { ...adapter, status: told };
  return {
    actions,
    ...(p.replaced.length === 0 ? {} : { replaced: p.replaced.map(({ pod, why }) => `${pod}: ${why}`) }),
    ...(p.requeueAfterMs === undefined ? {} : { requeueAfterMs: p.requeueAfterMs }),
    ...(told === undefined ? {} : { status: told }),
    ...(c.next === undefined ? {} : { next: turn({ slices: after.slices, ...c.next }, later) }),
  };
}

describe("observed → plan, status", () => {
  const names = readdirSync(DIR).flatMap((f) => (f.endsWith(".in.yaml") ? [f.slice(0, -".in.yaml".length)] : []));
  test.each(names)("%s", (name) => {
    const text = stringify(outcome(parse(readFileSync(join(DIR, `${name}.in.yaml`), "utf8")) as Case), {
      lineWidth: 0,
      aliasDuplicateObjects: false,
    });
    const file = join(DIR, `${name}.out.yaml`);
    if (process.env.UPDATE_GOLDEN === "1") writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, "utf8"));
  });
});
