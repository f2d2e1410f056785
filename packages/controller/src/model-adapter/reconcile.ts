import { isDeepStrictEqual } from "node:util";
import {
  type Condition,
  type EventRecorder,
  isRetryable,
  KubeError,
  type NewEvent,
  type Result,
  setCondition,
  truncate,
} from "@aibrix/kube";
import { listedIn } from "../endpoints/slices.ts";
import { baseBehindEvent } from "../names/told.ts";
import { type Overcommitment, overcommittedEvent } from "../pods/overcommitment.ts";
import type { AdapterSecrets, SecretReader } from "../secrets/secrets.ts";
import type { TrialMetrics } from "../trials/trial-metrics.ts";
import { type ActDeps, act, ForeignServiceError } from "./act.ts";
import { eventsBetween, repairsOf } from "./events.ts";
import { ownRefusal } from "./exchange.ts";
import type { AdapterMemory } from "./memory.ts";
import { latestAdapter, type ObserveDeps, observe, observeAfterWrites } from "./observe.ts";
import { plan } from "./plan.ts";
import { podChanges, type TellDeps, tellPodChanges, tellTakenOut } from "./pod-changes.ts";
import { isServed, leftIsOver, podState, shownCalls } from "./pod-state.ts";
import { recallCalls } from "./recall.ts";
import { stepName } from "./rollout/trial.ts";
import { status } from "./status.ts";
import type { StatusWriter } from "./status-writer.ts";
import { type Action, MODEL_ADAPTERS, type ModelAdapterObject, type Observed, type Plan } from "./types.ts";
import { contentStatus, endsNow, updatedCondition } from "./update-status.ts";

export interface ReconcileDeps extends ObserveDeps, TellDeps, Omit<ActDeps, "caches"> {
  readonly secrets: SecretReader;
  readonly events: Pick<EventRecorder, "record">;
  readonly overcommitment: Overcommitment;
  readonly statuses: StatusWriter;
  readonly trials?: Pick<TrialMetrics, "follow" | "unfollow" | "health"> | undefined;
  /** Decides about an adapter again after so many milliseconds, whatever the work on it came to. */
  readonly requeueAfter: (key: string, ms: number) => void;
}

/** What is written to the API server before the status is, in the plan's order. */
const WRITES: readonly Action["kind"][] = ["addFinalizer", "ensureService", "deleteService", "writeSlices"];

const NO_SECRETS: AdapterSecrets = { kind: "ok", credentials: undefined, apiKey: undefined, version: "" };

/** Brings one ModelAdapter to its declared state: observe, plan, act, status. */
export async function reconcile(key: string, deps: ReconcileDeps, signal: AbortSignal): Promise<Result | undefined> {
  const adapter = latestAdapter(key, deps);
  if (adapter !== undefined) recallCalls(adapter, deps.memories.of(key), deps.calls);
  const spec = adapter?.spec;
  const namespace = key.slice(0, key.indexOf("/"));
  const secrets = spec === undefined ? NO_SECRETS : await deps.secrets.forAdapter(namespace, spec, signal);
  // No wait from here to the placement: two adapters never choose by the same count.
  const o = observe(key, secrets, deps, Date.now());
  const p = plan(o);
  for (const pod of o.pods) for (const kind of shownCalls(o, pod)) deps.calls.shown(pod.facts.uid, o.name, kind);
  deps.placements.set(
    key,
    p.placed.map((name) => `${o.namespace}/${name}`),
  );
  followPods(o, p, secrets, deps);
  settleLeftovers(o, deps, signal);
  const memory = deps.memories.of(key);
  memory.trials = o.rollout.trials;
  tellBasesBehind(o, memory, deps);
  tellPlacement(o, p, deps);
  const had = new Set([...o.placed, ...p.placed]);
  memory.keepRefusals(
    o.pods,
    // What was written down of a pod that has not been asked yet may be of an earlier run of its engine.
    (pod) => (had.has(pod.facts.name) && pod.view.knowledge !== "awaited" ? ownRefusal(o, pod) : undefined),
    (pod) => isServed(podState(o, pod)),
  );
  const failures: unknown[] = [];
  let told = o.adapter;
  try {
    told = await tellEnd(o, memory, deps, signal);
  } catch (error) {
    failures.push(error);
  }
  const notWritten: { readonly kind: Action["kind"]; readonly error: unknown }[] = [];
  for (const action of p.actions.filter((a) => WRITES.includes(a.kind))) {
    try {
      await act(action, o, secrets, memory, deps, signal);
    } catch (error) {
      if (error instanceof ForeignServiceError) return { requeueAfterMs: 0 };
      // The next one all the same: pods that no longer serve leave the slices whatever becomes of the Service.
      notWritten.push({ kind: action.kind, error });
    }
  }
  failures.push(...notWritten.map((w) => w.error));
  // That somebody else wrote first is no reason, for it is done again at once; but clients go by the slices: what these do not say yet is not so.
  memory.unwritten = unwritten(notWritten.find((w) => w.kind === "writeSlices" || !isConflict(w.error))?.error);
  const after = observeAfterWrites(o, deps);
  tellTakenOut(o, after.slices, deps.log);
  if (o.adapter !== undefined && failures.length === 0)
    for (const event of repairsOf(o, p, after)) deps.events.record(MODEL_ADAPTERS, o.adapter, event);
  // Before the calls: what an engine without sidecar is asked to load must be written down first.
  try {
    if (told !== undefined) await tellStatus(after, told, p, memory, deps, signal);
    // Not before: what was counted is known to nobody else until the status tells what came of it.
    followTrial(o, deps);
  } catch (error) {
    failures.push(error);
  }
  for (const action of p.actions.filter((a) => mayFollow(a, p, after, failures.length > 0))) {
    if (action.kind === "removeFinalizer") tellGivenUp(o, action.leftOn, failures, deps);
    await act(action, o, secrets, memory, deps, signal);
    if ("pod" in action && action.kind !== "cancel") memory.asked.begin(action.kind, action.pod.facts.uid);
  }
  if (failures.length > 0) {
    // A failure has a backoff of its own, or none: what time brings is not to wait for it.
    if (p.requeueAfterMs !== undefined) deps.requeueAfter(key, p.requeueAfterMs);
    throw failures[0];
  }
  if (o.adapter === undefined && p.leaving.length === 0) forget(o, deps);
  return p.requeueAfterMs === undefined ? undefined : { requeueAfterMs: p.requeueAfterMs };
}

/**
 * Whether an action that is no write may follow the writes. Where one of those failed nothing new begins: no load whose intent is not written
 * down. What ends goes on: pods that nobody is sent to any more give the adapter up, and a deletion ends in its time.
 *
 * @param o - with the slices as they are after the writes
 */
function mayFollow(action: Action, p: Plan, o: Observed, failed: boolean): boolean {
  if (WRITES.includes(action.kind)) return false;
  if (!failed) return true;
  if (action.kind === "removeFinalizer") return action.overdue;
  const overdue = p.actions.some((a) => a.kind === "removeFinalizer" && a.overdue);
  return (action.kind === "unload" || action.kind === "release") && (overdue || !listedIn(o.slices).has(action.pod.facts.uid));
}

/** Says which base models the adapter keeps from their plain name: each once. */
function tellBasesBehind({ adapter, key, name, names }: Observed, memory: AdapterMemory, { events, log }: ReconcileDeps): void {
  const before = memory.basesBehind;
  memory.basesBehind = new Set(names.basesBehind);
  if (adapter === undefined) return;
  for (const base of names.basesBehind.filter((b) => !before.has(b))) {
    events.record(MODEL_ADAPTERS, adapter, baseBehindEvent(name, base));
    log.warn({ adapter: key, base: `${base}/${name}` }, "a base model does not answer to its plain name: an older ModelAdapter has it");
  }
}

/** Says which pods gave their replica away, and which have too many adapters from now on by this one. */
function tellPlacement(o: Observed, p: Plan, { events, overcommitment }: ReconcileDeps): void {
  const tell = (event: NewEvent) => o.adapter !== undefined && events.record(MODEL_ADAPTERS, o.adapter, event);
  for (const { pod, why } of p.replaced) {
    const note = truncate(`pod ${pod} gives its replica away, for it does not serve it: ${why}`, 1_000);
    tell({ type: "Warning", reason: "Exchanged", action: "Schedule", note });
  }
  for (const { facts, load, limits } of o.pods) {
    const isPlaced = p.placed.includes(facts.name);
    const adapters = load + (isPlaced ? 1 : 0);
    const begins = overcommitment.begins(facts.uid, adapters, limits);
    if (begins && isPlaced && !o.placed.includes(facts.name)) tell(overcommittedEvent(facts, adapters, limits));
  }
}

/** Says what a deletion leaves behind once its time is over. */
function tellGivenUp(
  { adapter, bounds }: Observed,
  leftOn: readonly string[],
  failures: readonly unknown[],
  { events }: ReconcileDeps,
): void {
  if (adapter === undefined || (leftOn.length === 0 && failures.length === 0)) return;
  const pods = leftOn.length === 0 ? [] : [`${leftOn.join(", ")} did not give the adapter up: it goes as soon as they answer`];
  const writes = failures.length === 0 ? [] : [`${failureText(failures[0])}: the garbage collector removes the Service and the slices`];
  const note = truncate(`deleted after ${bounds.deletionMs / 1000} s although ${[...pods, ...writes].join("; ")}`, 1_000);
  events.record(MODEL_ADAPTERS, adapter, { type: "Warning", reason: "GivenUp", action: "Delete", note });
}

function isConflict(failure: unknown): boolean {
  return failure instanceof KubeError && failure.status === 409;
}

/** Why finalizer, Service or slices are not as they should be. */
function unwritten(failure: unknown): string | undefined {
  if (failure === undefined) return undefined;
  const text = failureText(failure);
  const forbidden = failure instanceof KubeError && failure.status === 403;
  const again = isRetryable(failure) ? "it is tried again" : "it waits for a change";
  const remedy = forbidden ? "apply the controller's RBAC (deploy/rbac) again" : `${again}; look into the controller's log`;
  return `the API server did not take what the adapter needs there (${text}): ${remedy}`;
}

function failureText(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}

/** Takes in what pods show of what earlier adapters of the name left there. */
function settleLeftovers(o: Observed, { leftovers }: ReconcileDeps, signal: AbortSignal): void {
  for (const pod of o.pods.filter((x) => x.left !== undefined)) {
    const { facts, via, view } = pod;
    if (leftIsOver(o, pod)) leftovers.drop(facts.uid, o.name, signal);
    else if (via === "direct" && view.knowledge === "fresh" && !view.adapters.has(o.name))
      leftovers.seenGone(facts.uid, o.name, o.nowMs + o.bounds.directLoadMs);
  }
}

/** Says whose responses are of interest: those of a canary that they may end. */
function followTrial({ key, namespace, name, adapter, rollout }: Observed, { trials }: ReconcileDeps): void {
  const thresholds = adapter?.spec.rollout?.canary?.abortOn;
  const step = thresholds === undefined ? undefined : stepName(rollout.update);
  if (step === undefined) trials?.unfollow(key);
  else trials?.follow(key, { namespace, model: name, step });
}

/** Says which pods' adapters are of interest, and with which key to ask for them. */
function followPods(o: Observed, p: Plan, secrets: AdapterSecrets, { agents }: ReconcileDeps): void {
  const apiKey = secrets.kind === "ok" ? secrets.apiKey : undefined;
  for (const { facts, adapterLabels } of o.pods) {
    const agent = agents.agent(facts, adapterLabels);
    if (p.placed.includes(facts.name) || p.leaving.includes(facts.name)) agent?.follow(o.name, apiKey);
    else agent?.unfollow(o.name);
  }
}

/**
 * Writes down that an update has ended before anything is done about it: whoever goes on after this process has ended knows nothing of what was
 * counted, and would begin anew.
 *
 * @returns the adapter as it is then
 */
async function tellEnd(
  o: Observed,
  memory: AdapterMemory,
  { statuses, events }: ReconcileDeps,
  signal: AbortSignal,
): Promise<ModelAdapterObject | undefined> {
  const { adapter } = o;
  if (adapter?.status === undefined || !endsNow(o.rollout, adapter)) return adapter;
  const known = (adapter.status.conditions ?? []) as Condition[];
  const updated = updatedCondition(o, adapter);
  const conditions = updated === undefined ? known : setCondition(known, updated, new Date(o.nowMs));
  const next = statuses.known({ ...adapter.status, ...contentStatus(o, adapter, undefined), conditions: [...conditions] });
  // A CRD of an earlier release keeps nothing of updates.
  if (next.update === undefined) return adapter;
  try {
    memory.adapter.wrote(o.key, await statuses.write(adapter, next, signal));
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return adapter;
    throw error;
  }
  for (const event of eventsBetween(adapter.status, next)) events.record(MODEL_ADAPTERS, adapter, event);
  return { ...adapter, status: next };
}

/** Writes the status where it differs, and tells what changed. */
async function tellStatus(
  o: Observed,
  adapter: ModelAdapterObject,
  p: Plan,
  memory: AdapterMemory,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<void> {
  const { statuses, events } = deps;
  const next = statuses.known(status(o, adapter, p));
  if (isDeepStrictEqual(adapter.status, next)) return;
  try {
    memory.adapter.wrote(o.key, await statuses.write(adapter, next, signal));
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return;
    throw error;
  }
  tellPodChanges(o, podChanges(adapter.status, next), memory.asked, deps);
  for (const event of eventsBetween(adapter.status, next)) events.record(MODEL_ADAPTERS, adapter, event);
}

/** Nothing of it is left anywhere. */
function forget(o: Observed, { placements, memories, calls, agents, caches, trials }: ReconcileDeps): void {
  trials?.unfollow(o.key);
  placements.delete(o.key);
  memories.delete(o.key);
  agents.unfollow(o.namespace, o.name);
  for (const { metadata } of caches.podsOf(o.namespace)) calls.forget(metadata.uid ?? "", o.name);
}
