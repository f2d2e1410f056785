import { adapterPort, FINALIZER, LABEL_MODEL_NAME } from "@aibrix/api";
import { controllerReference } from "@aibrix/kube";
import { headlessService, serviceIsRight } from "../endpoints/service.ts";
import { isEmpty, listedIn, planSlices } from "../endpoints/slices.ts";
import type { AdapterView } from "../engines/agent.ts";
import type { CallKind } from "../engines/calls.ts";
import { nameObstacle } from "../names/told.ts";
import { isDeclaredBy, isOurs } from "./ownership.ts";
import { wantsPeers } from "./peers.ts";
import { place } from "./placement.ts";
import {
  asked,
  inheritedUntilMs,
  isOfNow,
  isTold,
  listsLeft,
  listsOther,
  mayHold,
  mayTake,
  podState,
  refusedBefore,
  routable,
  rowOf,
  strayed,
  unproven,
} from "./pod-state.ts";
import {
  type Action,
  deletionDrainMs,
  MODEL_ADAPTERS,
  type ModelAdapterObject,
  type Observed,
  type ObservedPod,
  type Obstacle,
  type Plan,
} from "./types.ts";

/** How often Secrets that are in use are read again, in milliseconds. */
const SECRETS_PERIOD_MS = 60_000;
/** How often a Service that is somebody else's is looked at again: it is not watched. */
const FOREIGN_SERVICE_PERIOD_MS = 30_000;
/** How often a Secret that could not be had is asked for again. */
const TROUBLED_SECRET_PERIOD_MS = { SecretNotFound: 10_000, SecretForbidden: 10_000, SecretUnavailable: 4_000 } as const;

/** Decides what to do next. Pure. */
export function plan(o: Observed): Plan {
  if (o.adapter === undefined) return planGone(o);
  if (o.adapter.metadata.deletionTimestamp !== undefined) return planDeletion(o, o.adapter);
  return planPresence(o, o.adapter);
}

function planPresence(o: Observed, adapter: ModelAdapterObject): Plan {
  const placement = place(o);
  const taken = nameObstacle(o.name, o.names);
  const foreign = foreignService(o);
  const kept = foreign === undefined ? placement.pods : placement.pods.filter((p) => mayHold(o, p));
  const placed = taken === undefined ? kept : [];
  const leaving = o.pods.filter((p) => !placed.includes(p) && mayHold(o, p));
  const actions: Action[] = [];
  if (!hasFinalizer(adapter)) actions.push({ kind: "addFinalizer" });
  // Slices of somebody else's Service would send its clients to our pods.
  actions.push(...(taken === undefined && foreign === undefined ? publish(o, adapter, placed) : withdraw(o)));
  if (taken !== undefined && o.service.kind === "ours") actions.push({ kind: "deleteService" });
  // An engine that took the new path, and does not show it, is not unloaded again and again.
  const swapping = placed.filter((p) => o.secretTrouble === undefined && wantsSwap(o, p) && mayCall(o, p, "load"));
  const loading = placed.filter((p) => foreign === undefined && wantsLoad(o, p));
  const straying = placed.filter((p) => strayed(o, p));
  actions.push(...placed.filter((p) => drainsInVain(o, p)).map((pod): Action => ({ kind: "cancel", pod })));
  actions.push(...takeAway(o, [...leaving, ...swapping, ...straying], swapping));
  actions.push(...loading.filter((p) => mayCall(o, p, "load")).map((pod): Action => ({ kind: "load", pod })));
  const preparing = placed.filter((p) => p.prepare !== undefined && o.secretTrouble === undefined && !loading.includes(p));
  actions.push(...preparing.filter((p) => mayCall(o, p, "prepare")).map((pod): Action => ({ kind: "prepare", pod })));
  return {
    actions,
    placed: placed.map((p) => p.facts.name),
    leaving: leaving.map((p) => p.facts.name),
    obstacle: taken ?? foreign ?? placement.obstacle,
    note: placement.note,
    replaced: (taken ?? foreign) ? [] : placement.replaced,
    requeueAfterMs: soonest(o, [
      placement.againAtMs,
      o.rollout.againAtMs,
      ...o.pods.flatMap((p) => times(o, p)),
      o.usesSecrets ? o.nowMs + SECRETS_PERIOD_MS : undefined,
      o.secretTrouble === undefined ? undefined : o.nowMs + TROUBLED_SECRET_PERIOD_MS[o.secretTrouble.reason],
      foreign === undefined ? undefined : o.nowMs + FOREIGN_SERVICE_PERIOD_MS,
    ]),
  };
}

/** Out of the slices first, then out of the engines, then the finalizer. */
function planDeletion(o: Observed, adapter: ModelAdapterObject): Plan {
  const holders = o.pods.filter((p) => mayHold(o, p));
  const startMs = Date.parse(adapter.metadata.deletionTimestamp ?? "");
  const endMs = startMs + o.bounds.deletionMs;
  const overdue = o.nowMs >= endMs;
  const done = holders.length === 0 || overdue;
  const actions: Action[] = [];
  actions.push(...withdraw(o));
  if (o.service.kind === "ours") actions.push({ kind: "deleteService" });
  actions.push(...holders.filter((p) => p.call.running === "unload" && drainsLonger(o, p)).map((pod): Action => ({ kind: "cancel", pod })));
  actions.push(...takeAway(o, holders));
  if (done && hasFinalizer(adapter)) actions.push({ kind: "removeFinalizer", overdue, leftOn: holders.map((p) => p.facts.name) });
  return {
    actions,
    placed: [],
    leaving: holders.map((p) => p.facts.name),
    obstacle: undefined,
    note: undefined,
    replaced: [],
    // Also where all is done: the API server may refuse what is left to do.
    requeueAfterMs: soonest(o, [endMs, ...(done ? [] : holders.flatMap((p) => times(o, p)))]),
  };
}

/** It no longer exists: what we loaded and a pod still has is swept. */
function planGone(o: Observed): Plan {
  const holders = o.pods.filter((p) => mayHold(o, p));
  return {
    actions: takeAway(o, holders),
    placed: [],
    leaving: holders.map((p) => p.facts.name),
    obstacle: undefined,
    note: undefined,
    replaced: [],
    requeueAfterMs: soonest(
      o,
      holders.flatMap((p) => times(o, p)),
    ),
  };
}

/** The Service, and the pods that serve now in its slices. */
function publish(o: Observed, adapter: ModelAdapterObject, placed: readonly ObservedPod[]): Action[] {
  const owner = controllerReference(MODEL_ADAPTERS, adapter);
  const port = adapterPort(adapter.metadata.labels);
  const service = headlessService(o.name, o.namespace, port, owner, { [LABEL_MODEL_NAME]: o.name });
  const listed = placed.filter((p) => routable(p, podState(o, p))).map((p) => ({ pod: p.facts, port: p.port, weight: p.weight }));
  const sliceOwner = { namespace: o.namespace, service: o.name, owner, port };
  const changes = planSlices(sliceOwner, listed, o.slices);
  const there = listedIn(o.slices);
  const staying = listed.filter(({ pod }) => there.has(pod.uid));
  const shrink = o.slices.length === 0 ? { apply: [], delete: [] } : planSlices(sliceOwner, staying, o.slices);
  const right = o.service.kind === "ours" && serviceIsRight(o.service.service, service);
  return [
    ...(o.service.kind === "orphan" ? [{ kind: "deleteService" } as const] : []),
    ...(right ? [] : [{ kind: "ensureService", service } as const]),
    ...(isEmpty(changes) ? [] : [{ kind: "writeSlices", changes, shrink } as const]),
  ];
}

/** Every slice goes. */
function withdraw(o: Observed): Action[] {
  const changes = { apply: [], delete: o.slices };
  return isEmpty(changes) ? [] : [{ kind: "writeSlices", changes, shrink: changes }];
}

/** The adapter leaves these pods, by whoever loaded it there; some only for a moment. */
function takeAway(o: Observed, pods: readonly ObservedPod[], swapping: readonly ObservedPod[] = []): Action[] {
  return pods.flatMap((pod): Action[] => {
    if (strayed(o, pod)) return mayCall(o, pod, "release") ? [{ kind: "release", pod }] : [];
    // What is left from before is taken away where it is seen: under its name may be somebody else's by now.
    if (pod.left !== undefined && !asked(o, pod) && !listsLeft(o, pod)) return [];
    return mayCall(o, pod, "unload") ? [{ kind: "unload", pod, swap: swapping.includes(pod) && (!pod.unrouted || pod.alone) }] : [];
  });
}

/** Whether the pod has to be told what we declare. */
function wantsLoad(o: Observed, p: ObservedPod): boolean {
  if (strayed(o, p)) return false;
  if (p.delivery.kind === "refused") return false;
  if (!mayTake(p) || p.facts.terminating || p.view.knowledge !== "fresh" || o.secretTrouble !== undefined) return false;
  const entry = p.view.adapters.get(o.name);
  // What is listed and has not answered is asked for an answer only.
  if (p.via === "direct") return (entry === undefined || unproven(o, p)) && inheritedUntilMs(o, p) === undefined;
  if (entry === undefined) return true;
  if (!isOurs(entry, rowOf(o, p), p)) return false;
  // One that was made again goes on with what the one before it declared.
  if (!isDeclaredBy(entry, o.adapter) || !isTold(p, entry) || entry.state === "Draining") return true;
  if (wantsPeers(o, p)) return true;
  // What comes next is told then: what is there is as it was, but for what a sidecar that was restarted has lost.
  if (o.rollout.update !== undefined && (!o.usesSecrets || (!isInVain(o, p, entry) && serves(p, entry) && isOfThisRun(p)))) return false;
  // After our own restart nothing is known of keys and credentials: saying them again is harmless.
  return p.call.done?.kind !== "load" ? o.usesSecrets : p.call.done.fingerprint !== p.fingerprint;
}

function serves({ view }: ObservedPod, entry: AdapterView): boolean {
  return entry.serving && view.engineReady;
}

/** Whether the pod was given the content on its way and did not take it: with what the Secrets hold by now it may, and only that decides. */
function isInVain({ rollout: { update } }: Observed, p: ObservedPod, entry: AdapterView): boolean {
  return update?.state === "Swapping" && p.content === update.content && entry.state === "Failed";
}

/** Whether the sidecar, as it runs now, was told what serves. */
function isOfThisRun({ call: { done }, fingerprint }: ObservedPod): boolean {
  const run = (of: string) => of.split(".")[1];
  return done?.kind === "load" && run(done.fingerprint) === run(fingerprint);
}

/** Whether an engine without sidecar has older content under this name: it is unloaded first, and loaded from the new path. */
function wantsSwap(o: Observed, p: ObservedPod): boolean {
  return p.delivery.kind !== "refused" && !strayed(o, p) && listsOther(o, p);
}

/** Whether requests end on a pod for an unload that nobody wants any more: it is to have what it has. */
function drainsInVain(o: Observed, p: ObservedPod): boolean {
  if (p.via !== "direct" || p.call.running !== "unload" || strayed(o, p)) return false;
  return p.view.adapters.get(o.name)?.serving === true && !listsOther(o, p);
}

/** Whether a drain that began before a deletion, for other content say, would go on for longer than the deletion lets it. */
function drainsLonger({ adapter, bounds }: Observed, p: ObservedPod): boolean {
  const deletedMs = Date.parse(adapter?.metadata.deletionTimestamp ?? "");
  return p.call.drainUntilMs !== undefined && p.call.drainUntilMs > deletedMs + deletionDrainMs(bounds);
}

/** Whether a call may start now: none is running, and what failed has waited its time, or is asked anew. */
function mayCall(o: Observed, p: ObservedPod, kind: CallKind): boolean {
  const { running, failure, accepted } = p.call;
  if (running !== undefined) return false;
  // The sidecar has taken it and goes on by itself, but knows of no deletion since.
  if (kind === "unload" && p.view.adapters.get(o.name)?.state === "Draining") return drainsLonger(o, p);
  const taken = accepted[kind];
  const fingerprint = kind === "prepare" ? p.prepare?.fingerprint : p.fingerprint;
  if (taken !== undefined && taken.fingerprint === fingerprint && o.nowMs < taken.againAtMs) return false;
  if (kind === "load" && refusedBefore(p) !== undefined) return false;
  if (failure === undefined || failure.kind !== kind) return true;
  if (kind === "prepare" ? failure.fingerprint !== fingerprint : !isOfNow(p, failure)) return true;
  return failure.retryAtMs !== undefined && failure.retryAtMs <= o.nowMs;
}

/** When calls to a pod may be made again. */
function times(o: Observed, p: ObservedPod): (number | undefined)[] {
  const { failure, accepted } = p.call;
  const gone = p.left?.loading === true ? (p.left.goneAtMs ?? o.nowMs + o.bounds.directLoadMs) : undefined;
  return [inheritedUntilMs(o, p), gone, failure?.retryAtMs, ...Object.values(accepted).flatMap((a) => [a.settledAtMs, a.againAtMs])];
}

function foreignService(o: Observed): Obstacle | undefined {
  if (o.service.kind !== "foreign") return undefined;
  const message = `a Service named ${o.name} exists in the namespace ${o.namespace} and is not this adapter's (${o.service.owner}): give the adapter another name, or remove the Service`;
  return { reason: "ServiceNotOwned", message, final: true };
}

function hasFinalizer(adapter: ModelAdapterObject): boolean {
  return adapter.metadata.finalizers?.includes(FINALIZER) === true;
}

/** The soonest of these times that is to come, as a wait; at least 10 ms, so that a clock that is off by one makes no hot loop. */
function soonest(o: Observed, timesMs: readonly (number | undefined)[]): number | undefined {
  const times = timesMs.filter((t): t is number => t !== undefined && t > o.nowMs);
  return times.length === 0 ? undefined : Math.max(10, Math.min(...times) - o.nowMs);
}
