import { isDeepStrictEqual } from "node:util";
import { type EventRecorder, isRetryable, KubeError, type Result, withoutManagedFields } from "@aibrix/kube";
import { BY_NAMESPACE } from "../caches.ts";
import type { AdapterSecrets, SecretReader } from "../secrets/secrets.ts";
import { type ActDeps, act, ForeignServiceError } from "./act.ts";
import { eventsBetween } from "./events.ts";
import type { AdapterMemory } from "./memory.ts";
import { latestAdapter, type ObserveDeps, observe, observeAfterWrites } from "./observe.ts";
import { plan } from "./plan.ts";
import { status } from "./status.ts";
import { type Action, MODEL_ADAPTERS, type ModelAdapterObject, type Observed, type Plan } from "./types.ts";

export interface ReconcileDeps extends ObserveDeps, Omit<ActDeps, "caches"> {
  readonly secrets: SecretReader;
  readonly events: Pick<EventRecorder, "record">;
}

/** What is written to the API server before the status is, in the plan's order. */
const WRITES: readonly Action["kind"][] = ["addFinalizer", "ensureService", "deleteService", "writeSlices"];

const NO_SECRETS: AdapterSecrets = { kind: "ok", credentials: undefined, apiKey: undefined, version: "" };

/** Brings one ModelAdapter to its declared state: observe, plan, act, status. */
export async function reconcile(key: string, deps: ReconcileDeps, signal: AbortSignal): Promise<Result | undefined> {
  const spec = latestAdapter(key, deps)?.spec;
  const namespace = key.slice(0, key.indexOf("/"));
  const secrets = spec === undefined ? NO_SECRETS : await deps.secrets.forAdapter(namespace, spec, signal);
  // No wait from here to the placement: two adapters never choose by the same count.
  const o = observe(key, secrets, deps, Date.now());
  const p = plan(o);
  deps.placements.set(
    key,
    p.placed.map((name) => `${o.namespace}/${name}`),
  );
  followPods(o, p, secrets, deps);
  const memory = deps.memories.of(key);
  const run = (kinds: readonly Action["kind"][]) =>
    actOn(
      p.actions.filter((a) => kinds.includes(a.kind)),
      o,
      secrets,
      memory,
      deps,
      signal,
    );
  let failure: unknown;
  for (const action of p.actions.filter((a) => WRITES.includes(a.kind))) {
    try {
      await act(action, o, secrets, memory, deps, signal);
    } catch (error) {
      if (error instanceof ForeignServiceError) return { requeueAfterMs: 0 };
      // The next one all the same: pods that no longer serve leave the slices whatever becomes of the Service.
      failure ??= error;
    }
  }
  memory.unwritten = unwritten(failure);
  // Before the calls: what an engine without sidecar is asked to load must be written down first.
  if (o.adapter !== undefined) {
    const told = tellStatus(observeAfterWrites(o, deps), o.adapter, p, memory, deps, signal);
    if (failure === undefined) await told;
    else await Promise.allSettled([told]);
  }
  if (failure !== undefined) throw failure;
  await run(["load", "unload", "release"]);
  await run(["removeFinalizer"]);
  if (o.adapter === undefined && p.leaving.length === 0) forget(o, deps);
  return p.requeueAfterMs === undefined ? undefined : { requeueAfterMs: p.requeueAfterMs };
}

/** Why finalizer, Service or slices are not as they should be. That somebody else wrote first is no reason: the work is done again at once. */
function unwritten(failure: unknown): string | undefined {
  if (failure === undefined || (failure instanceof KubeError && failure.status === 409)) return undefined;
  const text = failure instanceof Error ? failure.message : String(failure);
  const forbidden = failure instanceof KubeError && failure.status === 403;
  const again = isRetryable(failure) ? "it is tried again" : "it waits for a change";
  const remedy = forbidden ? "apply the controller's RBAC (deploy/rbac) again" : `${again}; look into the controller's log`;
  return `the API server did not take what the adapter needs there (${text}): ${remedy}`;
}

async function actOn(
  actions: readonly Action[],
  o: Observed,
  secrets: AdapterSecrets,
  memory: AdapterMemory,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<void> {
  for (const action of actions) await act(action, o, secrets, memory, deps, signal);
}

/** Says which pods' adapters are of interest, and with which key to ask for them. */
function followPods(o: Observed, p: Plan, secrets: AdapterSecrets, { agents }: ReconcileDeps): void {
  const apiKey = secrets.kind === "ok" ? secrets.apiKey : undefined;
  for (const { facts } of o.pods) {
    const agent = agents.agent(facts, o.adapter?.metadata.labels ?? {});
    if (p.placed.includes(facts.name) || p.leaving.includes(facts.name)) agent?.follow(o.name, apiKey);
    else agent?.unfollow(o.name);
  }
}

/** Writes the status where it differs, and tells what changed. */
async function tellStatus(
  o: Observed,
  adapter: ModelAdapterObject,
  p: Plan,
  memory: AdapterMemory,
  { client, events }: ReconcileDeps,
  signal: AbortSignal,
): Promise<void> {
  const next = status(o, adapter, p);
  for (const row of adapter.status?.pods ?? []) if (row.state === "Serving") memory.served.add(row.uid ?? "");
  if (isDeepStrictEqual(adapter.status, next)) return;
  const { namespace, name, uid } = adapter.metadata;
  try {
    // With the uid: a status never lands on a later object of the same name.
    const metadata = { namespace: namespace ?? "", name, ...(uid === undefined ? {} : { uid }) };
    const written = await client.applyStatus(MODEL_ADAPTERS, { metadata, status: next }, {}, signal);
    memory.adapter.wrote(o.key, withoutManagedFields(written));
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return;
    throw error;
  }
  for (const event of eventsBetween(adapter.status, next, ({ uid }) => memory.served.has(uid ?? ""))) {
    events.record(MODEL_ADAPTERS, adapter, event);
  }
}

/** Nothing of it is left anywhere. */
function forget(o: Observed, { placements, memories, calls, agents, caches }: ReconcileDeps): void {
  placements.delete(o.key);
  memories.delete(o.key);
  agents.unfollow(o.namespace, o.name);
  for (const { metadata } of caches.pods.byIndex(BY_NAMESPACE, o.namespace)) calls.forget(metadata.uid ?? "", o.name);
}
