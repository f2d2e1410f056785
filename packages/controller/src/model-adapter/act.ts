import { CONFIG_API_KEY, type ContentRef, DRAIN, FINALIZER, LABEL_MODEL_PORT, smokeChecks } from "@aibrix/api";
import {
  ENDPOINT_SLICES,
  isControlledBy,
  type KubeClient,
  KubeError,
  keyOf,
  SERVICES,
  type Service,
  withoutManagedFields,
} from "@aibrix/kube";
import type { Caches } from "../caches.ts";
import type { SliceChanges } from "../endpoints/slices.ts";
import type { LoadCall, PodAgent } from "../engines/agent.ts";
import type { PodCalls } from "../engines/calls.ts";
import type { AgentPool } from "../engines/pool.ts";
import type { Leftover, Leftovers } from "../leftovers/leftovers.ts";
import { engineRoot } from "../pods/delivery.ts";
import type { AdapterSecrets } from "../secrets/secrets.ts";
import type { Content } from "./contents.ts";
import type { AdapterMemory } from "./memory.ts";
import { isOrphan, ownerText } from "./observe.ts";
import { declaredBy } from "./ownership.ts";
import { peersOf } from "./peers.ts";
import { rowOf, servedBefore } from "./pod-state.ts";
import { type Action, deletionDrainMs, MODEL_ADAPTERS, type ModelAdapterObject, type Observed, type ObservedPod } from "./types.ts";

export interface ActDeps {
  readonly caches: Pick<Caches, "pod">;
  readonly client: KubeClient;
  readonly agents: AgentPool;
  readonly calls: PodCalls;
  readonly leftovers: Leftovers;
}

/** How long a Service that is somebody else's is not asked for again, in milliseconds. */
const FOREIGN_FOR_MS = 30_000;

/** Carries out one action. Calls to pods are only started here: their outcome comes back as a change. */
export async function act(
  action: Action,
  o: Observed,
  secrets: AdapterSecrets,
  memory: AdapterMemory,
  deps: ActDeps,
  signal: AbortSignal,
): Promise<void> {
  switch (action.kind) {
    case "addFinalizer":
      return await setFinalizers(o, memory, (all) => [...all, FINALIZER], deps, signal);
    case "removeFinalizer":
      await keepLeftovers(action.leftOn, o, deps, signal);
      return await setFinalizers(o, memory, (all) => all.filter((f) => f !== FINALIZER), deps, signal);
    case "ensureService":
      return await ensureService(action.service, o, memory, deps, signal);
    case "deleteService":
      await deps.client.delete(SERVICES, { namespace: o.namespace, name: o.name }, uidOf(o.service), signal);
      return memory.service.deleted(o.key, uidOf(o.service).uid);
    case "writeSlices": {
      // Nobody knows whose a Service is that could not be made: then pods leave, and none comes.
      const made = memory.service.latest(o.key, undefined) !== undefined || !["missing", "orphan"].includes(o.service.kind);
      return await writeSlices(made ? action.changes : action.shrink, memory, deps, signal);
    }
    case "load":
      return startLoad(action.pod, o, secrets, deps);
    case "prepare":
      return startPrepare(action.pod, o, secrets, deps);
    case "unload":
    case "release":
      return startTakingAway(action, o, secrets, deps);
    case "cancel":
      return deps.calls.cancel(action.pod.facts.uid, o.name);
  }
}

/** Writes down what may stay in engines that nobody but their adapter's status told of. */
async function keepLeftovers(leftOn: readonly string[], o: Observed, { leftovers }: ActDeps, signal: AbortSignal): Promise<void> {
  for (const p of o.pods.filter((pod) => leftOn.includes(pod.facts.name))) {
    const left = leftoverOf(o, p);
    if (left !== undefined) await leftovers.keep(p.facts, o.name, left, signal);
  }
}

/** What an adapter may leave in a pod's engine; nothing where a sidecar remembers whose it is. Pure. */
export function leftoverOf(o: Observed, p: ObservedPod): Leftover | undefined {
  const row = rowOf(o, p);
  if (p.via === "sidecar" && row?.asked !== true && p.left === undefined) return undefined;
  const seen = p.via === "direct" ? p.view.adapters.get(o.name)?.root : undefined;
  const roots = [engineRoot(p.delivery), seen].filter((r) => r !== undefined);
  const port = p.adapterLabels[LABEL_MODEL_PORT];
  return {
    roots: [...new Set(roots)],
    ...(port === undefined ? {} : { port }),
    ...(p.call.running === "load" || row?.loadingSince !== undefined ? { loading: true } : {}),
  };
}

/** Guarded by the version that was decided on: a conflict means that somebody else wrote, and all is decided anew. */
async function setFinalizers(
  o: Observed,
  memory: AdapterMemory,
  change: (all: readonly string[]) => string[],
  { client }: ActDeps,
  signal: AbortSignal,
): Promise<void> {
  if (o.adapter === undefined) return;
  const { metadata } = memory.adapter.latest(o.key, o.adapter) ?? o.adapter;
  const patch = { metadata: { resourceVersion: metadata.resourceVersion, finalizers: change(metadata.finalizers ?? []) } };
  try {
    const written = await client.mergePatch(MODEL_ADAPTERS, { namespace: o.namespace, name: o.name }, patch, {}, signal);
    memory.adapter.wrote(o.key, withoutManagedFields(written));
  } catch (error) {
    // A conflict that our own older knowledge made is gone once the cache has caught up.
    if (error instanceof KubeError && error.conflict) memory.adapter.forget(o.key);
    if (!(error instanceof KubeError && error.notFound)) throw error;
  }
}

/** Makes or mends the Service. One that is there and not ours is left alone and remembered. */
async function ensureService(
  service: Service,
  o: Observed,
  memory: AdapterMemory,
  { client }: ActDeps,
  signal: AbortSignal,
): Promise<void> {
  if (o.adapter === undefined || o.service.kind === "foreign") return;
  if (o.service.kind === "ours") return await mendService(service, o.service.service, o, memory, client, signal);
  try {
    return memory.service.wrote(o.key, withoutManagedFields(await client.create(SERVICES, service, {}, signal)));
  } catch (error) {
    if (!(error instanceof KubeError && error.alreadyExists)) throw error;
    const there = await client.find(SERVICES, { namespace: o.namespace, name: o.name }, signal);
    // Gone again: all is decided anew.
    if (there === undefined) throw error;
    // The cache has not told of it yet: at the next turn it is known.
    if (isOrphan(there, o.adapter)) {
      await client.delete(SERVICES, { namespace: o.namespace, name: o.name }, uidIn(there.metadata), signal);
      throw error;
    }
    if (isControlledBy(there, o.adapter)) return await mendService(service, there, o, memory, client, signal);
    memory.foreign = { owner: ownerText(there), untilMs: Date.now() + FOREIGN_FOR_MS };
    throw new ForeignServiceError(o.key);
  }
}

/**
 * An edit by hand is undone, other people's labels and annotations stay. A selector that somebody added goes too, which an apply would leave.
 * Guarded by the version that was decided on: somebody else's Service may have come in its place.
 */
async function mendService(
  wanted: Service,
  current: Service,
  o: Observed,
  memory: AdapterMemory,
  client: KubeClient,
  signal: AbortSignal,
): Promise<void> {
  const { resourceVersion } = current.metadata;
  const patch = { metadata: { resourceVersion, labels: wanted.metadata.labels }, spec: { selector: null, ports: wanted.spec?.ports } };
  try {
    const written = await client.mergePatch(SERVICES, { namespace: o.namespace, name: o.name }, patch, {}, signal);
    memory.service.wrote(o.key, withoutManagedFields(written));
  } catch (error) {
    if (error instanceof KubeError && (error.conflict || error.notFound)) memory.service.forget(o.key);
    throw error;
  }
}

/** The Service turned out to be somebody else's: decide anew with that. */
export class ForeignServiceError extends Error {
  override readonly name = "ForeignServiceError";
}

async function writeSlices(changes: SliceChanges, memory: AdapterMemory, { client }: ActDeps, signal: AbortSignal): Promise<void> {
  // What no longer serves leaves first.
  const smaller = [...changes.apply].sort((a, b) => (a.endpoints?.length ?? 0) - (b.endpoints?.length ?? 0));
  for (const slice of smaller) {
    memory.slices.wrote(keyOf(slice), withoutManagedFields(await client.apply(ENDPOINT_SLICES, slice, {}, signal)));
  }
  for (const slice of changes.delete) {
    const { namespace, name, uid } = slice.metadata;
    await client.delete(ENDPOINT_SLICES, { namespace, name }, uid === undefined ? {} : { uid }, signal);
    memory.slices.deleted(keyOf(slice), uid);
  }
}

/** Who to ask on a pod; `undefined` where it was deleted since it was observed: nobody would ever end what began for it now. */
function agentOf(p: ObservedPod, { agents, caches }: ActDeps): PodAgent | undefined {
  return caches.pod(p.facts.key)?.metadata.uid === p.facts.uid ? agents.agent(p.facts, p.adapterLabels) : undefined;
}

function startLoad(p: ObservedPod, o: Observed, secrets: AdapterSecrets, deps: ActDeps): void {
  const { adapter } = o;
  const { calls } = deps;
  const agent = adapter === undefined ? undefined : agentOf(p, deps);
  if (adapter === undefined || agent === undefined || secrets.kind !== "ok") return;
  const peers = peersOf(o, p, p.content);
  const call = loadCall(adapter, o, p, secrets);
  calls.start({
    kind: "load",
    pod: p.facts,
    name: o.name,
    fingerprint: p.fingerprint,
    refusalFingerprint: p.refusalFingerprint,
    peers: peers.map(({ mark }) => mark),
    atOnce: 16,
    run: (signal) => agent.load(call, signal),
  });
}

function startPrepare(p: ObservedPod, o: Observed, secrets: AdapterSecrets, deps: ActDeps): void {
  const { adapter } = o;
  const agent = adapter === undefined ? undefined : agentOf(p, deps);
  if (adapter === undefined || agent === undefined || secrets.kind !== "ok" || p.prepare === undefined) return;
  const { content, delivery, fingerprint, checks } = p.prepare;
  const call = {
    ...loadCall(adapter, o, { ...p, content, delivery, unrouted: false }, secrets),
    refresh: content.ask,
    // New content, too, comes with the key and credentials that are declared with it.
    proves: content.secrets !== o.rollout.served?.secrets,
    checks: checks ? smokeChecks(adapter.spec.rollout?.checks) : undefined,
  };
  deps.calls.start({
    kind: "prepare",
    pod: p.facts,
    name: o.name,
    fingerprint,
    refusalFingerprint: fingerprint,
    atOnce: 16,
    run: (signal) => agent.prepare(call, signal),
  });
}

type TakingAway = Extract<Action, { kind: "unload" | "release" }>;

function startTakingAway(action: TakingAway, o: Observed, secrets: AdapterSecrets, deps: ActDeps): void {
  const { agents, calls } = deps;
  const { kind, pod: p } = action;
  const agent = agentOf(p, deps);
  if (agent === undefined) return;
  const apiKey = secrets.kind === "ok" ? secrets.apiKey : undefined;
  const entry = p.view.adapters.get(o.name);
  const owner = entry === undefined && o.adapter !== undefined ? declaredBy(o.adapter) : entry?.owner;
  const untilMs = graceUntilMs(action, o);
  // It may wait for others first: what is left counts when it runs.
  const roots = p.left !== undefined && rowOf(o, p)?.asked !== true ? p.left.roots : undefined;
  // Where it only leaves the pod it may be wanted again: the cache keeps its files within its bounds.
  const cleanup = o.adapter === undefined || o.adapter.metadata.deletionTimestamp !== undefined;
  const call = () => ({
    name: o.name,
    apiKey,
    owner,
    cleanup,
    roots,
    answered: servedBefore(o, p),
    swaps: action.kind === "unload" && action.swap,
    graceSeconds: Math.max(0, Math.ceil((untilMs - Date.now()) / 1_000)),
  });
  calls.start({
    kind,
    pod: p.facts,
    name: o.name,
    fingerprint: p.fingerprint,
    refusalFingerprint: p.refusalFingerprint,
    // A drain waits for requests, not for the engine.
    atOnce: 64,
    ...(kind === "unload" ? { drainUntilMs: untilMs } : {}),
    run: (signal, cancelled) =>
      kind === "unload" ? agent.unload(call(), signal, cancelled) : agents.release(p.facts, p.adapterLabels, call(), signal),
  });
}

/** Until when requests may go on, in milliseconds since the epoch. A deletion has its grace once, whoever goes on with it. */
function graceUntilMs(action: TakingAway, { adapter, bounds, nowMs }: Observed): number {
  if (action.kind === "unload" && action.swap) return nowMs + swapDrainMs({ bounds }, { alone: true });
  const deletedMs = Date.parse(adapter?.metadata.deletionTimestamp ?? "");
  return Number.isNaN(deletedMs) ? nowMs + bounds.drainMs : Math.min(nowMs, deletedMs) + deletionDrainMs(bounds);
}

/** How long requests of the old content may go on where new content waits for them: where no other pod serves, no longer than the gateway holds the others. */
function swapDrainMs({ bounds }: Pick<Observed, "bounds">, { alone }: Pick<ObservedPod, "alone">): number {
  return alone ? Math.min(bounds.drainMs, DRAIN.swapGraceMs) : bounds.drainMs;
}

function contentRef({ digest, revision }: Content): ContentRef | undefined {
  return digest === undefined ? undefined : { digest, ...(revision === undefined ? {} : { revision }) };
}

function loadCall(
  adapter: ModelAdapterObject,
  o: Observed,
  p: Omit<ObservedPod, "fingerprint" | "refusalFingerprint">,
  secrets: Extract<AdapterSecrets, { kind: "ok" }>,
): LoadCall {
  const { [CONFIG_API_KEY]: _, ...additionalConfig } = adapter.spec.additionalConfig ?? {};
  return {
    name: adapter.metadata.name,
    artifactUrl: String(p.content.url),
    delivery: p.delivery,
    content: contentRef(p.content),
    peers: peersOf(o, p, p.content).map(({ url }) => url),
    drainSeconds: p.unrouted ? Math.ceil(swapDrainMs(o, p) / 1_000) : undefined,
    credentials: secrets.credentials,
    credentialsHosts: secrets.credentialsHosts,
    apiKey: secrets.apiKey,
    owner: declaredBy(adapter),
    adopt: p.view.adapters.get(adapter.metadata.name)?.own === "unsaid",
    // Requests of the old content may keep the engine's only slot, and whoever waits for that is held no longer than its time.
    probe: p.unrouted && p.alone ? "off" : o.probe,
    maxLoraRank: p.limits.maxLoraRank,
    additionalConfig,
  };
}

/** Which Service goes: never a later one of the name. */
function uidOf(service: Observed["service"]): { uid?: string } {
  return service.kind === "ours" ? uidIn(service.service.metadata) : service.kind === "orphan" ? uidIn(service) : {};
}

function uidIn({ uid }: { readonly uid?: string | undefined }): { uid?: string } {
  return uid === undefined ? {} : { uid };
}
