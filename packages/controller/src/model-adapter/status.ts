import { LABEL_MODEL_NAME, type ModelAdapterStatus, type Phase, type Reason } from "@aibrix/api";
import { type Condition, type NewCondition, setCondition, truncate } from "@aibrix/kube";
import { listedIn } from "../endpoints/slices.ts";
import { nameCondition } from "../names/told.ts";
import type { Served, Update } from "./contents.ts";
import {
  asked,
  askedEver,
  failedLoad,
  inheritedUntilMs,
  type PodState,
  podState,
  refusedBefore,
  routable,
  rowOf,
  servedBefore,
  strayed,
  taken,
} from "./pod-state.ts";
import { adapterRank, toldRank } from "./rank.ts";
import { namesSameSecrets } from "./rollout/secrets.ts";
import { rememberedRefusal } from "./rows.ts";
import type { ModelAdapterObject, Observed, ObservedPod, Plan, PodRow } from "./types.ts";
import { contentStatus, updatedCondition } from "./update-status.ts";

/** Pods that a message names one by one. */
const MAX_NAMED = 10;
/** A message of a pod in the status; a cluster holds thousands of them. */
const MAX_POD_MESSAGE = 1_000;

interface Row {
  readonly pod: ObservedPod;
  readonly state: PodState;
}

/**
 * The status that tells what was observed. Pure. Ready is True only while a pod has answered that it serves the adapter, and clients can
 * reach it there; `observedGeneration` is the generation that is being served.
 *
 * @param o - with the Service and the slices as they are after the plan's writes
 */
export function status(o: Observed, adapter: ModelAdapterObject, plan: Plan): ModelAdapterStatus {
  const before = adapter.status;
  const rowsOf = (names: readonly string[]): Row[] =>
    o.pods.filter((p) => names.includes(p.facts.name)).map((pod) => ({ pod, state: podState(o, pod) }));
  const placed = rowsOf(plan.placed);
  const reachable = o.service.kind === "ours" ? listedIn(o.slices) : new Set();
  const serving = placed.filter(({ pod, state }) => routable(pod, state));
  const ready = serving.filter(({ pod }) => reachable.has(pod.facts.uid));
  // What could not be written hides a pod that serves, or keeps all else from going on: there is none yet.
  const hidden = o.unwritten !== undefined && (ready.length === 0 || ready.length < serving.length);
  const deleting = adapter.metadata.deletionTimestamp !== undefined;
  const isCurrent = ready.length > 0 && isGenerationServed(o, ready);
  const served = isCurrent ? adapter.metadata.generation : before?.observedGeneration;
  const replicas = adapter.spec.replicas ?? plan.placed.length;
  return {
    phase: deleting ? (before?.phase ?? "Pending") : phase(hidden, placed, ready, plan),
    conditions: conditions(o, adapter, plan, placed, ready, hidden),
    instances: [...plan.placed],
    candidates: o.pods.filter((p) => p.matches).length,
    desiredReplicas: deleting ? 0 : replicas,
    readyReplicas: ready.length,
    ...(served === undefined ? {} : { observedGeneration: served }),
    ...contentStatus(o, adapter, digestOf(o, placed)),
    ...rankOf(o, adapter),
    pods: [
      ...placed.map((r) => podRow(o, plan, r)),
      ...rowsOf(plan.leaving).map((r) => ({ ...podRow(o, plan, r), state: "Draining" as const })),
      ...(deleting ? [] : refusedRows(o, plan)),
    ],
  };
}

/** Whether what is served is only looked at again, by the clock, and has led to nothing else so far. */
function isLook(update: Update | undefined, { url, digest }: Served): boolean {
  if (update?.state !== "Preparing" || !update.byClock || update.content.isCheck === true) return false;
  return update.content.url === url && (update.content.digest === undefined || update.content.digest === digest);
}

/** Before an update is through it may be taken back. Another look at a reference that came to nothing keeps no other edit from being served. */
function isGenerationServed({ rollout: { served, update, isEverywhere } }: Observed, ready: readonly Row[]): boolean {
  // Nobody has edited the Secrets that hold something newer by now: what is declared is served all the same.
  const isRotation = update?.state !== "Failed" && update?.content.isCheck === true && namesSameSecrets(update.content, served ?? {});
  if (served !== undefined && isLook(update, served)) return isEverywhere;
  if (update === undefined || isRotation) return ready.every(({ state }) => state.current);
  if (update.state !== "Failed" || served === undefined || update.content.url !== served.url) return false;
  return namesSameSecrets(update.content, served) && isEverywhere;
}

/** Of what is decided on, where a pod says that it serves that, and nothing else next. */
function digestOf({ name, rollout: { served } }: Observed, rows: readonly Row[]): string | undefined {
  const hasIt = ({ pod, state }: Row) => state.state === "Serving" && pod.view.adapters.get(name)?.artifactUrl === served?.url;
  return rows.find((row) => row.state.digest !== undefined && hasIt(row))?.state.digest;
}

function rankOf(o: Observed, { metadata }: ModelAdapterObject): Pick<ModelAdapterStatus, "adapterRank"> {
  const value = adapterRank(o);
  return value === undefined || metadata.generation === undefined ? {} : { adapterRank: { value, generation: metadata.generation } };
}

function phase(hidden: boolean, placed: readonly Row[], ready: readonly Row[], plan: Plan): Phase {
  if (plan.obstacle?.final === true) return "Failed";
  if (ready.length > 0 && !hidden) return "Running";
  if (placed.length === 0) return "Pending";
  if (placed.every(({ state }) => state.state === "Failed")) return "Failed";
  // Bound: a pod has taken it up.
  return placed.some(({ state }) => ["Downloading", "Loading", "Serving", "Updating"].includes(state.state)) ? "Bound" : "Scheduled";
}

function conditions(
  o: Observed,
  adapter: ModelAdapterObject,
  plan: Plan,
  placed: readonly Row[],
  ready: readonly Row[],
  hidden: boolean,
): Condition[] {
  const wanted: NewCondition[] = [
    { type: "Initialized", status: "Unknown", reason: "ModelAdapterPending", message: "Starting reconciliation" },
    scheduled(o, plan),
    readiness(o, adapter, plan, placed, ready, hidden),
  ];
  const updated = updatedCondition(o, adapter);
  if (updated !== undefined) wanted.push(updated);
  const label = adapter.metadata.labels?.[LABEL_MODEL_NAME];
  if (label !== undefined && label !== o.name) {
    const message = `the label ${LABEL_MODEL_NAME} is ${label}, but the adapter is served as ${o.name}, its name: make them equal`;
    wanted.push({ type: "NameLabel", status: "False", reason: "NameLabelDiffers", message });
  }
  const held = nameCondition(o.name, o.namespace, o.names);
  // A name that is refused is nobody's to reach by a header.
  if (held !== undefined && plan.obstacle?.reason !== "NameIsBaseModel") wanted.push(held);
  const known = (adapter.status?.conditions ?? []) as Condition[];
  const now = new Date(o.nowMs);
  return wanted.flatMap((c) =>
    setCondition(
      known.filter((k) => k.type === c.type),
      c,
      now,
    ),
  );
}

function scheduled(o: Observed, { placed, obstacle, note }: Plan): NewCondition {
  const type = "Scheduled";
  if (placed.length === 0)
    return {
      type,
      status: "False",
      reason: obstacle?.reason ?? "ModelAdapterDeleting",
      message: obstacle?.message ?? "the adapter is being taken away",
    };
  const pods = named(placed.map((name) => `${o.namespace}/${name}`));
  const message = `ModelAdapter ${o.key} has been allocated to ${placed.length === 1 ? "pod" : "pods"} ${pods}${note === undefined ? "" : `; on no others: ${note}`}`;
  return { type, status: "True", reason: "Scheduled", message };
}

function readiness(
  o: Observed,
  adapter: ModelAdapterObject,
  plan: Plan,
  placed: readonly Row[],
  ready: readonly Row[],
  hidden: boolean,
): NewCondition {
  const no = (reason: Reason, message: string): NewCondition => ({ type: "Ready", status: "False", reason, message });
  const unwritten = o.unwritten === undefined ? undefined : truncate(o.unwritten, MAX_POD_MESSAGE);
  const also = unwritten === undefined ? "" : `; ${unwritten}`;
  if (adapter.metadata.deletionTimestamp !== undefined)
    return no(
      "ModelAdapterDeleting",
      plan.leaving.length === 0
        ? `the adapter is being taken away${also}`
        : `waits for ${named(plan.leaving.map((name) => `${o.namespace}/${name}`))} to unload it${also}`,
    );
  if (plan.obstacle !== undefined) return no(plan.obstacle.reason, plan.obstacle.message + also);
  if (hidden && unwritten !== undefined) return no("EndpointsNotWritten", unwritten);
  if (ready.length > 0)
    return { type: "Ready", status: "True", reason: "ModelAdapterAvailable", message: `ModelAdapter ${o.key} is ready${also}` };
  // What another pod has come to ends nothing here: the gateway holds requests until this one serves again.
  const swapping = placed.filter(({ pod, state }) => pod.facts.ready && state.serving && pod.unrouted && state.message === undefined);
  if (swapping.length > 0)
    return no(
      "ModelAdapterLoading",
      `the new content waits on ${named(swapping.map(({ pod }) => pod.facts.key))} until requests of the old one have ended, for the engine is not known to have room for both (--max-loras), or loads slowly; the gateway holds new ones meanwhile`,
    );
  const between = placed.filter((row) => isBetween(o, row));
  if (between.length > 0) return no("ModelAdapterLoading", `loading on ${named(between.map(({ pod }) => pod.facts.key))}`);
  const trouble = placed.filter(({ state }) => state.message !== undefined);
  const first = trouble.find(({ state }) => state.final) ?? trouble[0];
  if (first === undefined) {
    const waiting = placed.filter(({ pod }) => !pod.facts.ready).map(({ pod }) => pod.facts.key);
    if (waiting.length === placed.length) return no("PodsNotReady", `not ready: ${named(waiting)}`);
    return no("ModelAdapterLoading", `loading on ${named(placed.map(({ pod }) => pod.facts.key))}`);
  }
  const same = trouble.filter(({ state }) => state.message === first.state.message).map(({ pod }) => pod.facts.key);
  return no(first.state.reason ?? "ModelAdapterLoading", truncate(`${named(same)}: ${first.state.message}`, 2 * MAX_POD_MESSAGE));
}

/** Whether a pod has given up what it served for an update's sake, or for the end of one, and loads what comes in its place. */
function isBetween(o: Observed, { pod, state }: Row): boolean {
  const { update } = o.rollout;
  if (update === undefined || update.state === "Preparing" || state.message !== undefined) return false;
  return servedBefore(o, pod) && pod.facts.ready && !state.serving && (state.state === "Loading" || state.state === "Updating");
}

/** Whether the pod's engine was asked before, or is about to be. Kept until a sidecar that has come into force may load it. */
function wasAsked(o: Observed, plan: Plan, pod: ObservedPod): boolean {
  if (strayed(o, pod)) return asked(o, pod);
  return pod.via === "direct" && (askedEver(o, pod) || startsLoad(plan, pod));
}

/** Whether the pod's sidecar was asked before, or is about to be. */
function wasTaken(o: Observed, plan: Plan, pod: ObservedPod): boolean {
  return taken(o, pod) || (pod.via === "sidecar" && startsLoad(plan, pod));
}

/** Whom we asked for the adapter, and what came of it: that is what has to be asked to give it up, and not to be asked the same again. */
function loadedBy(o: Observed, plan: Plan, { pod, state }: Row): Partial<PodRow> {
  const { done, failure, accepted } = pod.call;
  const shown = pod.view.adapters.has(o.name) ? failedLoad(pod) : failure?.kind === "load" ? failure : accepted.load;
  const before = shown === undefined && refusedBefore(pod) !== undefined ? { fingerprint: pod.refusalFingerprint } : undefined;
  const refused = state.attempts === 0 ? undefined : (shown ?? before);
  return {
    ...(wasAsked(o, plan, pod) ? { asked: true } : {}),
    ...(wasTaken(o, plan, pod) ? { taken: true } : {}),
    ...(o.usesSecrets && pod.via === "sidecar" && done?.kind === "load" ? { acceptedFingerprint: done.fingerprint } : {}),
    ...(refused === undefined ? {} : { refusedFingerprint: refused.fingerprint }),
  };
}

/** Since when an engine without sidecar is at it, as far as is known: it is written down before it is asked. */
function loadingSince(o: Observed, plan: Plan, { pod, state }: Row): Partial<PodRow> {
  if (pod.via !== "direct") return {};
  if (startsLoad(plan, pod)) return { loadingSince: new Date(o.nowMs).toISOString() };
  // It is done, though the call may not have ended: an engine that is started anew has nothing under way.
  if (state.serving && state.current) return {};
  const { running, failure, accepted } = pod.call;
  const unknown = failure?.kind !== "load" && accepted.load === undefined && pod.view.knowledge !== "fresh";
  const since = running === "load" || unknown || inheritedUntilMs(o, pod) !== undefined ? rowOf(o, pod)?.loadingSince : undefined;
  return since === undefined ? {} : { loadingSince: since };
}

function startsLoad(plan: Plan, pod: ObservedPod): boolean {
  return plan.actions.some((a) => a.kind === "load" && a.pod === pod);
}

/** Kept where it no longer serves: when it comes back, that is a repair. Never moves: a status that changes by itself would be written for ever. */
function firstServedTime(o: Observed, { pod, state }: Row): Partial<PodRow> {
  const first = rowOf(o, pod)?.firstServedTime ?? (state.serving ? new Date(o.nowMs).toISOString() : undefined);
  return first === undefined ? {} : { firstServedTime: first };
}

function podRow(o: Observed, plan: Plan, row: Row): PodRow {
  const { pod, state } = row;
  const { delivery } = pod;
  // An engine answers once it is done; a sidecar tells itself how far it is.
  const begins = pod.via === "direct" && startsLoad(plan, pod);
  const maxRank = toldRank(o, pod);
  const message = state.message ?? (delivery.kind === "engine" ? delivery.note : undefined);
  return {
    name: pod.facts.name,
    uid: pod.facts.uid,
    state: begins ? "Loading" : state.state,
    ...loadingSince(o, plan, row),
    ...firstServedTime(o, row),
    ...(maxRank === undefined ? {} : { maxRank }),
    ...(state.digest === undefined ? {} : { contentDigest: state.digest }),
    ...(delivery.kind === "refused" ? {} : { delivery: ({ volume: "Volume", engine: "Engine", asIs: "Path" } as const)[delivery.kind] }),
    ...loadedBy(o, plan, row),
    ...(state.attempts === 0 ? {} : { attempts: state.attempts }),
    ...(state.message === undefined || state.reason === undefined ? {} : { reason: state.reason }),
    ...(state.message === undefined ? {} : { lastError: truncate(state.message, MAX_POD_MESSAGE) }),
    ...(state.message !== undefined || message === undefined ? {} : { note: truncate(message, MAX_POD_MESSAGE) }),
    ...(state.nextRetryTime === undefined || begins ? {} : { nextRetryTime: state.nextRetryTime }),
  };
}

/** Pods that refused and that the adapter is not on: what is known of them outlives the process. */
function refusedRows(o: Observed, { placed, leaving }: Plan): PodRow[] {
  return o.pods.flatMap((p): PodRow[] => {
    const { name, uid } = p.facts;
    const refusal = placed.includes(name) || leaving.includes(name) ? undefined : rememberedRefusal(o, p);
    if (refusal === undefined) return [];
    const lastError = truncate(refusal.message, MAX_POD_MESSAGE);
    return [{ name, uid, state: "Failed", refusedFingerprint: p.refusalFingerprint, attempts: 1, reason: refusal.reason, lastError }];
  });
}

function named(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return names.slice(0, MAX_NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
