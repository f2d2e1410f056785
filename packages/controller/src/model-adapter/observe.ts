import { createHash } from "node:crypto";
import { ANNOTATION_PROBE, CONFIG_API_KEY, CONTROLLER_MANAGER, LABEL_MODEL_PORT, matchesSelector } from "@aibrix/api";
import { controllerOf, type EndpointSlice, isControlledBy, type Pod, type Service, splitKey } from "@aibrix/kube";
import type { Placements } from "../cache/placements.ts";
import { BY_BASE_MODEL, BY_NAME, BY_SERVICE, type Caches } from "../caches.ts";
import { LABEL_MANAGED_BY } from "../endpoints/names.ts";
import { listedIn, onTrialIn } from "../endpoints/slices.ts";
import { NOTHING_KNOWN, type PodView } from "../engines/agent.ts";
import type { PodCalls } from "../engines/calls.ts";
import type { AgentPool } from "../engines/pool.ts";
import type { Leftover, Leftovers } from "../leftovers/leftovers.ts";
import { NOBODY_ELSE, nameFacts } from "../names/holders.ts";
import { type Delivery, delivery } from "../pods/delivery.ts";
import { enginePort, type PodFacts } from "../pods/facts.ts";
import { limitsOf } from "../pods/limits.ts";
import { factsOf } from "../pods/trim.ts";
import type { AdapterSecrets } from "../secrets/secrets.ts";
import type { TrialMetrics } from "../trials/trial-metrics.ts";
import type { Content, Rollout } from "./contents.ts";
import type { AdapterMemory, Memories } from "./memory.ts";
import { isOurs } from "./ownership.ts";
import { NOBODY } from "./rollout/assign.ts";
import type { RolloutPod } from "./rollout/input.ts";
import { rollout } from "./rollout/rollout.ts";
import { secretsName } from "./rollout/secrets.ts";
import {
  type Bounds,
  MODEL_ADAPTERS,
  type ModelAdapterObject,
  type Observed,
  type ObservedPod,
  type ObservedService,
  type Refusal,
  type SecretTrouble,
} from "./types.ts";

export interface ObserveDeps {
  readonly caches: Pick<Caches, "adapters" | "pod" | "pods" | "podsOf" | "services" | "slices">;
  readonly agents: AgentPool;
  readonly calls: PodCalls;
  readonly placements: Placements;
  readonly memories: Memories;
  readonly leftovers: Leftovers;
  readonly bounds: Bounds;
  /** What the gateways count of contents on trial. */
  readonly trials?: Pick<TrialMetrics, "health"> | undefined;
  /** Where an adapter's annotation does not say it. */
  readonly probe: "auto" | "off";
  /** Clients may reach adapters by HTTPRoutes too. */
  readonly httpRoutes?: boolean | undefined;
}

/** The adapter as it is now, own writes included; `undefined` once it is gone. */
export function latestAdapter(key: string, { caches, memories }: ObserveDeps): ModelAdapterObject | undefined {
  const cached = caches.adapters.get(key);
  const memory = memories.find(key);
  // Gone from the cache is gone: this program never creates one.
  return cached === undefined || memory === undefined ? cached : memory.adapter.latest(key, cached);
}

/** Gathers all that decides about one adapter, from caches alone. `secrets` holds no secret's content on its way from here. */
export function observe(key: string, secrets: AdapterSecrets, deps: ObserveDeps, nowMs: number): Observed {
  const { namespace = "", name } = splitKey(key);
  const adapter = latestAdapter(key, deps);
  const memory = deps.memories.find(key);
  const placed = new Set(deps.placements.podsOf(key)?.map((k) => splitKey(k).name) ?? adapter?.status?.instances ?? []);
  const recorded = new Set(adapter?.status?.pods?.map((p) => p.name) ?? []);
  const secretsHash = secretsFingerprint(adapter, secrets);
  const pods: SeenPod[] = [];
  for (const pod of deps.caches.podsOf(namespace)) {
    const facts = factsOf(pod);
    const matches = selects(adapter, facts);
    const concerns =
      matches ||
      placed.has(facts.name) ||
      recorded.has(facts.name) ||
      deps.agents.shows(facts.key, name) ||
      deps.leftovers.of(facts.uid, name) !== undefined ||
      deps.calls.state(facts.uid, name).running !== undefined;
    if (concerns) pods.push(seePod(pod, facts, matches, name, adapter, secretsHash, deps, key));
  }
  const slices = observeSlices(key, memory, deps);
  const trouble = secretTrouble(secrets);
  const listed = listedIn(slices);
  const told = rollout({
    name,
    adapter,
    pods: pods.map((p) => rolloutPod(p, name, adapter, placed, { listed, onTrial: onTrialIn(slices) })),
    secrets: secretsHash,
    secretsName: nameOfSecrets(adapter, secrets),
    secretTrouble: trouble,
    health: (step) => deps.trials?.health(key, step),
    trials: memory?.trials,
    nowMs,
  });
  return {
    key,
    namespace,
    name,
    adapter,
    pods: pods.map((p) => observedPod(p, told)).sort((a, b) => (a.facts.name < b.facts.name ? -1 : 1)),
    rollout: told,
    placed: [...placed],
    secretTrouble: trouble,
    usesSecrets: usesSecrets(adapter),
    names:
      adapter === undefined
        ? NOBODY_ELSE
        : nameFacts(adapter, deps.caches.adapters.byIndex(BY_NAME, name), deps.caches.pods.byIndex(BY_BASE_MODEL, name)),
    probe: probeOf(adapter, deps),
    httpRoutes: deps.httpRoutes === true,
    service: observeService(key, adapter, memory, deps, nowMs),
    slices,
    unwritten: memory?.unwritten,
    bounds: deps.bounds,
    nowMs,
  };
}

/** What was observed, with the Service and the slices as they are after our writes. */
export function observeAfterWrites(o: Observed, deps: ObserveDeps): Observed {
  const memory = deps.memories.find(o.key);
  return {
    ...o,
    service: observeService(o.key, o.adapter, memory, deps, o.nowMs),
    slices: observeSlices(o.key, memory, deps),
    unwritten: memory?.unwritten,
  };
}

/** Whether the adapter's selector selects a pod that takes adapters. */
function selects(adapter: ModelAdapterObject | undefined, { baseModel, enabled, labels }: PodFacts): boolean {
  // A pod without the label lives on out of the watch's sight.
  return adapter !== undefined && baseModel !== undefined && enabled && matchesSelector(adapter.spec.podSelector, labels);
}

function seePod(
  pod: Pod,
  facts: PodFacts,
  matches: boolean,
  name: string,
  adapter: ModelAdapterObject | undefined,
  secretsHash: string,
  deps: ObserveDeps,
  key: string,
): SeenPod {
  const { agents, calls, leftovers, placements } = deps;
  const left = leftovers.of(facts.uid, name);
  const labels = labelsOf(adapter, left);
  const viaRuntime = agents.viaRuntime(facts);
  const view = viewOf(agents.agent(facts, labels)?.view ?? NOTHING_KNOWN, name);
  const hasCredentials = adapter?.spec.credentialsSecretRef !== undefined;
  const deliver = ({ url }: Content): Delivery =>
    adapter === undefined ? { kind: "asIs", path: "/", checked: false } : delivery(pod, { artifactURL: url, hasCredentials }, viaRuntime);
  // A sidecar that was restarted has lost the keys: it is told again.
  const instance = secretsHash === "" ? "" : (view.instance ?? "");
  const { said, byDefault } = facts.limits.maxLoraRank;
  const probed = probeOf(adapter, deps) === "off" ? ["not probed"] : [];
  // It may have other flags or files by now. A sidecar restores by itself, and is not told again for that.
  const restarts = `restarts ${facts.engineRestarts}`;
  const fingerprint = (content: Content) =>
    told(instance, [
      adapter?.metadata.uid,
      adapter?.metadata.generation,
      String(content.url),
      deliver(content),
      said ?? byDefault,
      secretsHash,
      instance,
      ...probed,
      ...(content.refresh === undefined ? [] : [`refresh ${content.refresh}`]),
      ...(viaRuntime ? [] : [restarts]),
    ]);
  return {
    facts,
    matches,
    via: viaRuntime ? "sidecar" : "direct",
    port: enginePort(facts, labels),
    limits: limitsOf(facts.limits, view.engineLimits),
    load: placements.load(facts.key, key),
    view,
    call: calls.state(facts.uid, name),
    left: left === undefined ? undefined : { ...left, goneAtMs: leftovers.goneAtMs(facts.uid, name) },
    adapterLabels: labels,
    contentsUrl: agents.contentsUrl(facts),
    withSecrets: secretsHash !== "",
    deliver,
    fingerprintOf: fingerprint,
    refusedAs: (content) => (viaRuntime ? hash([fingerprint(content), restarts]) : fingerprint(content)),
    refusalOf: (refusedAs) => deps.memories.find(key)?.refusal(facts.uid, refusedAs),
  };
}

/** A pod before it is decided which content it is to have. */
export interface SeenPod
  extends Omit<
    ObservedPod,
    | "delivery"
    | "content"
    | "current"
    | "unrouted"
    | "alone"
    | "decided"
    | "weight"
    | "prepare"
    | "fingerprint"
    | "refusalFingerprint"
    | "refusal"
  > {
  readonly withSecrets: boolean;
  readonly deliver: (content: Content) => Delivery;
  readonly fingerprintOf: (content: Content) => string;
  readonly refusedAs: (content: Content) => string;
  readonly refusalOf: (refusedAs: () => string) => Refusal | undefined;
}

/** What of a pod decides about its content. */
export function rolloutPod(
  p: SeenPod,
  name: string,
  adapter: ModelAdapterObject | undefined,
  placed: ReadonlySet<string>,
  { listed, onTrial }: { readonly listed: ReadonlySet<string>; readonly onTrial: ReadonlySet<string> },
): RolloutPod {
  const { facts, via, view, call, deliver } = p;
  const row = adapter?.status?.pods?.find((r) => r.uid === facts.uid);
  const entry = view.adapters.get(name);
  const mine = via === "sidecar" ? entry !== undefined && isOurs(entry, row, p) : row?.asked === true;
  const served = row?.firstServedTime !== undefined || row?.state === "Serving" || row?.state === "Updating";
  return {
    uid: facts.uid,
    name: facts.name,
    takesPart: p.matches && placed.has(facts.name) && !facts.terminating && !facts.finished,
    ends: facts.terminating || facts.finished,
    ready: facts.ready,
    hasServed: served,
    listed: listed.has(facts.uid),
    onTrial: onTrial.has(facts.uid),
    hasAddress: facts.ip !== undefined,
    via,
    view,
    call,
    engineRestarts: facts.engineRestarts,
    doubtful:
      !mine ||
      (via === "direct" && entry?.serving !== true) ||
      (!served && adapter?.status?.served !== undefined && entry?.state === "Updating"),
    delivery: deliver,
    isOf: ({ kind, fingerprint, retryable }, content) =>
      fingerprint === (retryable || kind === "prepare" ? p.fingerprintOf(content) : p.refusedAs(content)),
    takesKey: (content) => call.accepted.prepare?.fingerprint === p.fingerprintOf(content),
    hasSecrets: (content) => !p.withSecrets || (call.done?.kind === "load" && call.done.fingerprint === p.fingerprintOf(content)),
  };
}

/** The pod with the content that it is to have. */
export function observedPod(p: SeenPod, { pods }: Rollout): ObservedPod {
  const { deliver, fingerprintOf, refusedAs, refusalOf, withSecrets: _, ...seen } = p;
  const { content, current, unrouted, alone, decided, prepare, checks, weight } = pods.get(p.facts.uid) ?? NOBODY;
  // Only those that are asked for something need it.
  let hashed: string | undefined;
  const fingerprint = () => {
    hashed ??= fingerprintOf(content);
    return hashed;
  };
  let refused: string | undefined;
  const refusal = () => {
    refused ??= refusedAs(content);
    return refused;
  };
  return {
    ...seen,
    content,
    current,
    unrouted,
    alone,
    decided,
    weight,
    prepare:
      prepare === undefined ? undefined : { content: prepare, delivery: deliver(prepare), fingerprint: fingerprintOf(prepare), checks },
    delivery: deliver(content),
    refusal: refusalOf(refusal),
    get fingerprint() {
      return fingerprint();
    },
    get refusalFingerprint() {
      return refusal();
    },
  };
}

/** What an adapter says of how engines are reached, or said before it was deleted. */
function labelsOf(adapter: ModelAdapterObject | undefined, left: Leftover | undefined): Readonly<Record<string, string>> {
  if (adapter !== undefined) return adapter.metadata.labels ?? {};
  return left?.port === undefined ? {} : { [LABEL_MODEL_PORT]: left.port };
}

/** What is known of one adapter, as it is now: a view of all of a pod's goes on changing. */
function viewOf(view: PodView, name: string): PodView {
  const entry = view.adapters.get(name);
  return { ...view, adapters: entry === undefined ? NOTHING_KNOWN.adapters : new Map([[name, entry]]) };
}

function probeOf(adapter: ModelAdapterObject | undefined, { probe }: Pick<ObserveDeps, "probe">): "auto" | "off" {
  return adapter?.metadata.annotations?.[ANNOTATION_PROBE] === "off" ? "off" : probe;
}

function observeService(
  key: string,
  adapter: ModelAdapterObject | undefined,
  memory: AdapterMemory | undefined,
  { caches }: ObserveDeps,
  nowMs: number,
): ObservedService {
  const cached = caches.services.get(key);
  const service: Service | undefined = memory === undefined ? cached : memory.service.latest(key, cached);
  if (service !== undefined) {
    if (adapter === undefined || isControlledBy(service, adapter)) return { kind: "ours", service };
    if (isOrphan(service, adapter)) return { kind: "orphan", uid: service.metadata.uid };
    return { kind: "foreign", owner: ownerText(service) };
  }
  const foreign = memory?.foreign;
  return foreign !== undefined && nowMs < foreign.untilMs ? { kind: "foreign", owner: foreign.owner } : { kind: "missing" };
}

/** Whether a Service was made for an earlier adapter of this name. */
export function isOrphan(service: Service, adapter: ModelAdapterObject): boolean {
  const owner = controllerOf(service);
  const ours = service.metadata.labels?.[LABEL_MANAGED_BY] === CONTROLLER_MANAGER;
  return ours && owner?.kind === MODEL_ADAPTERS.kind && owner.name === adapter.metadata.name && owner.uid !== adapter.metadata.uid;
}

/** Whose a Service is, in words. */
export function ownerText(service: Service): string {
  const owner = controllerOf(service);
  if (owner !== undefined) return `it belongs to ${owner.kind} ${owner.name}`;
  const selector = Object.entries(service.spec?.selector ?? {}).map(([k, v]) => `${k}=${v}`);
  return selector.length === 0 ? "it was made by somebody else" : `it selects the pods ${selector.join(",")}`;
}

function observeSlices(key: string, memory: AdapterMemory | undefined, { caches }: ObserveDeps): EndpointSlice[] {
  const cached = new Map(caches.slices.byIndex(BY_SERVICE, key).map((s) => [`${s.metadata.namespace}/${s.metadata.name}`, s]));
  if (memory === undefined) return [...cached.values()];
  const keys = new Set([...cached.keys(), ...memory.slices.keys()]);
  return [...keys].flatMap((k) => memory.slices.latest(k, cached.get(k)) ?? []);
}

function usesSecrets(adapter: ModelAdapterObject | undefined): boolean {
  return (
    adapter?.spec.credentialsSecretRef !== undefined ||
    adapter?.spec.apiKeySecretRef !== undefined ||
    adapter?.spec.additionalConfig?.[CONFIG_API_KEY] !== undefined
  );
}

const SECRET_REASONS = { missing: "SecretNotFound", forbidden: "SecretForbidden", unavailable: "SecretUnavailable" } as const;

function secretTrouble(secrets: AdapterSecrets): SecretTrouble | undefined {
  return secrets.kind === "ok" ? undefined : { reason: SECRET_REASONS[secrets.kind], message: secrets.message };
}

function secretsFingerprint(adapter: ModelAdapterObject | undefined, secrets: AdapterSecrets): string {
  return usesSecrets(adapter) ? hash([secrets.kind === "ok" ? secrets.version : "missing"]) : "";
}

/** See `rollout/secrets.ts`; `undefined` where an adapter uses none. */
function nameOfSecrets(adapter: ModelAdapterObject | undefined, secrets: AdapterSecrets): string | undefined {
  if (adapter === undefined || !usesSecrets(adapter)) return undefined;
  const { credentialsSecretRef, apiKeySecretRef, additionalConfig } = adapter.spec;
  const word = (value: unknown) => hash([adapter.metadata.uid, value]).slice(0, 10);
  // A key in the spec is there for whoever may read the status.
  const key = apiKeySecretRef ?? additionalConfig?.[CONFIG_API_KEY];
  return secretsName(word(credentialsSecretRef?.name), word(key), word(secrets.kind === "ok" ? secrets.version : "missing"));
}

/** Stands for what is asked of a pod; with the run of its sidecar at the end, where that holds something that is written down nowhere. */
function told(instance: string, what: readonly unknown[]): string {
  return instance === "" ? hash(what) : `${hash(what)}.${hash(instance).slice(0, 8)}`;
}

function hash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("base64url").slice(0, 22);
}
