import type { AdapterState, Reason } from "@aibrix/api";
import { REASONS } from "@aibrix/api";
import type { AdapterView } from "../engines/agent.ts";
import type { Accepted, CallFailure, CallKind } from "../engines/calls.ts";
import { type Delivery, engineRoot } from "../pods/delivery.ts";
import { isDeclared } from "./declared-url.ts";
import { isDeclaredBy, isOurs, isSeen, toldTaken, whose } from "./ownership.ts";
import type { Observed, ObservedPod, PodRow, Refusal } from "./types.ts";

/** One adapter on one pod, in one word and what belongs to it. */
export interface PodState {
  readonly state: AdapterState;
  /** The pod answered that something serves under this name. */
  readonly serving: boolean;
  /** What serves is what the spec declares now. */
  readonly current: boolean;
  readonly digest: string | undefined;
  readonly reason: Reason | undefined;
  readonly message: string | undefined;
  /** A failure that waits for an edit. */
  readonly final: boolean;
  readonly attempts: number;
  readonly nextRetryTime: string | undefined;
}

const QUIET: PodState = {
  state: "Pending",
  serving: false,
  current: false,
  digest: undefined,
  reason: undefined,
  message: undefined,
  final: false,
  attempts: 0,
  nextRetryTime: undefined,
};

/** Reads the state of the adapter on a pod out of what was observed. Pure. */
export function podState(o: Observed, p: ObservedPod): PodState {
  const { knowledge, problem } = p.view;
  if (strayed(o, p)) return strayedState(o, p);
  if (knowledge === "awaited") return remembered(o, p);
  if (knowledge === "lost") {
    // An answer that only an edit changes is a failure; silence may end by itself.
    const final = p.view.problemReason !== undefined;
    return { ...QUIET, state: final ? "Failed" : "Pending", reason: p.view.problemReason ?? unavailable(p), message: problem, final };
  }
  const state = p.via === "sidecar" ? bySidecar(o, p) : byEngine(o, p);
  return p.delivery.kind === "refused" ? refused(state, p.delivery) : state;
}

/** Whether the pod serves what is declared now. */
export function isServed({ serving, current }: PodState): boolean {
  return serving && current;
}

/** Whether traffic may go to the adapter on this pod. */
export function routable(p: ObservedPod, s: PodState): boolean {
  if (p.unrouted || !p.decided) return false;
  // One that is being taken away serves only what was sent there before.
  return s.serving && s.state !== "Draining" && p.facts.ready && !p.facts.terminating && !p.facts.finished;
}

/**
 * Whether the pod may be asked for the adapter: it is Ready, or on its way there. Its engine answers the sidecar then, which lets the pod become
 * ready once it has what is declared: in a rolling update the pod before it goes as soon as this one is ready.
 */
export function mayTake(p: ObservedPod): boolean {
  return p.facts.ready || (p.via === "sidecar" && p.view.knowledge === "fresh" && p.view.engineReady);
}

/** Whether we asked the pod's engine itself to load the adapter: that is written down before each such call. */
export function asked(o: Observed, p: ObservedPod): boolean {
  return rowOf(o, p)?.asked === true;
}

/**
 * Whether we asked the pod's engine itself, for whichever object of the name. One that was made again has nothing written down of what the one
 * before it left in the engine.
 */
export function askedEver(o: Observed, p: ObservedPod): boolean {
  const { running, done } = p.call;
  return asked(o, p) || (p.via === "direct" && (running === "load" || done?.kind === "load" || listsLeft(o, p)));
}

/** Whether the engine lists what an earlier adapter of the name left there: the same weights, by where they come from. */
export function listsLeft(o: Observed, p: ObservedPod): boolean {
  const entry = p.via === "direct" && p.view.knowledge === "fresh" ? p.view.adapters.get(o.name) : undefined;
  return entry?.root !== undefined && !entry.base && p.left?.roots.includes(entry.root) === true;
}

/** Whether an engine that does not list what was left there may still do so: it was being loaded. */
function mayComeBack({ nowMs }: Observed, { left, view }: ObservedPod): boolean {
  return left?.loading === true && !view.reborn && (left.goneAtMs === undefined || nowMs < left.goneAtMs);
}

/** Whether nothing needs to be remembered any more of what an earlier adapter of the name left on the pod. Pure. */
export function leftIsOver(o: Observed, p: ObservedPod): boolean {
  if (p.left === undefined || p.call.running !== undefined) return false;
  // The adapter's own status tells of it from now on.
  if (asked(o, p)) return true;
  if (p.via === "sidecar") return p.call.done?.kind === "release";
  if (p.view.knowledge !== "fresh") return false;
  return p.view.adapters.has(o.name) ? !listsLeft(o, p) : !mayComeBack(o, p);
}

/** Whether the pod's sidecar has taken the adapter up for us, and has not given it up. */
export function taken(o: Observed, p: ObservedPod): boolean {
  const row = rowOf(o, p);
  const told = toldTaken(row);
  if (p.via === "direct") return told && p.facts.runtimePort !== undefined && p.call.done?.kind !== "release";
  const entry = p.view.knowledge === "fresh" ? p.view.adapters.get(o.name) : undefined;
  if (entry !== undefined) return isOurs(entry, row, p);
  return p.call.done?.kind === "load" || told;
}

/**
 * Whether the adapter was loaded on the pod the other way, before `--enable-runtime-sidecar` was changed. It has to be given up there first: a
 * sidecar puts back what it remembers, and leaves alone what it did not load.
 */
export function strayed(o: Observed, p: ObservedPod): boolean {
  return p.via === "sidecar" ? (asked(o, p) || p.left !== undefined) && p.call.done?.kind !== "release" : taken(o, p);
}

/** By uid: a new pod of the same name has nothing of the old one's. */
export function rowOf(o: Observed, p: ObservedPod): PodRow | undefined {
  return o.adapter?.status?.pods?.find((x) => x.uid === p.facts.uid);
}

/** Whether the pod may have the adapter by our doing: what has to be unloaded there. */
export function mayHold(o: Observed, p: ObservedPod): boolean {
  // It ends by itself, and until then finishes the requests that it has.
  if (p.facts.terminating || p.facts.finished) return false;
  if (p.call.running === "load" || strayed(o, p)) return true;
  const entry = p.view.adapters.get(o.name);
  if (p.via === "sidecar" && p.view.knowledge === "fresh") return entry !== undefined && isOurs(entry, rowOf(o, p), p);
  if (p.via === "sidecar") return taken(o, p);
  // The adapter may be gone since, with all that was written down but this.
  if (p.left !== undefined && (o.adapter === undefined || !askedEver(o, p))) return !leftIsOver(o, p);
  if (!askedEver(o, p)) return false;
  if (p.view.knowledge === "fresh") return entry === undefined ? inheritedUntilMs(o, p) !== undefined : !entry.base;
  return true;
}

/**
 * Until when an engine without sidecar may work on a load that an earlier process asked it for, in milliseconds since the epoch; `undefined`
 * where there is none: it is not asked twice. One that was started since, or was seen not to run, has forgotten it.
 */
export function inheritedUntilMs(o: Observed, p: ObservedPod): number | undefined {
  const since = rowOf(o, p)?.loadingSince;
  const { running, failure, accepted } = p.call;
  const ours = running !== undefined || failure?.kind === "load" || accepted.load !== undefined;
  if (p.via !== "direct" || since === undefined || ours || p.view.reborn || p.view.adapters.has(o.name)) return undefined;
  const sinceMs = Date.parse(since);
  if (p.facts.engineStartedMs !== undefined && p.facts.engineStartedMs >= sinceMs) return undefined;
  const untilMs = sinceMs + o.bounds.directLoadMs;
  return o.nowMs < untilMs ? untilMs : undefined;
}

/** Before a pod was asked, what was written down last counts: a restart of the controller takes nothing out of service. */
function remembered(o: Observed, p: ObservedPod): PodState {
  const before = rowOf(o, p);
  if (before === undefined) return { ...QUIET, message: p.view.problem, reason: p.view.problem === undefined ? undefined : unavailable(p) };
  const serving = before.state === "Serving" || before.state === "Updating";
  const { state, contentDigest, lastError, reason, attempts = 0, nextRetryTime } = before;
  return {
    ...QUIET,
    state,
    serving,
    current: state === "Serving" && declaredStill(o),
    digest: contentDigest,
    // Why it is not served is as true as it was.
    ...(lastError === undefined ? {} : { message: lastError, reason: reasonOf(reason), attempts, nextRetryTime }),
    final: state === "Failed" && lastError !== undefined && nextRetryTime === undefined,
  };
}

/**
 * While it is given up to be loaded the other way. What serves goes on until then: seen in the engine's list, else by what was written down
 * while the engine runs.
 */
function strayedState(o: Observed, p: ObservedPod): PodState {
  const { failure } = p.call;
  const { knowledge, adapters, engineReady } = p.view;
  const row = rowOf(o, p)?.state;
  const before = row === "Serving" || row === "Updating";
  const fresh = p.via === "direct" ? adapters.get(o.name)?.base === false : before && engineReady;
  const serving = knowledge === "fresh" ? fresh : knowledge === "awaited" && before;
  const released = failure?.kind === "release" ? failure : undefined;
  // What was lost does not come back by itself: the next turn reads this.
  return {
    ...QUIET,
    state: serving ? "Updating" : "Loading",
    serving,
    message: released?.message,
    reason: released?.reason,
    attempts: released?.attempts ?? 0,
  };
}

/** Whether the spec is the one whose serving was told. */
function declaredStill(o: Observed): boolean {
  return o.adapter?.status?.observedGeneration === o.adapter?.metadata.generation;
}

function bySidecar(o: Observed, p: ObservedPod): PodState {
  const entry = p.view.adapters.get(o.name);
  if (entry === undefined) return withoutEntry(o, p);
  if (!isOurs(entry, rowOf(o, p), p)) return { ...QUIET, state: "Failed", ...whose(entry), final: true };
  const anothers = isAnothers(o, p, entry);
  const serving = entry.serving && p.view.engineReady && !anothers;
  const declared = isTold(p, entry);
  // Why an update ends its condition tells; what served comes back.
  if (entry.swapping === true && !serving && servedBefore(o, p) && p.view.engineReady) return { ...QUIET, state: "Loading" };
  const refusedLoad = failedLoad(p);
  // What is declared now was refused: the older goes on.
  if (refusedLoad !== undefined)
    return {
      ...QUIET,
      state: declared && !anothers ? entry.state : serving ? "Updating" : "Failed",
      serving,
      current: serving && entry.state === "Serving" && declared && p.current,
      digest: entry.contentDigest,
      ...told(refusedLoad),
    };
  // It serves as it should, and cannot do what is to come next.
  const next = entry.state === "Serving" ? failedNext(o, entry) : undefined;
  if (next !== undefined) return { ...QUIET, state: "Serving", serving, digest: entry.contentDigest, ...next };
  const failed = entry.state === "Failed" || (entry.reason !== undefined && entry.message !== undefined);
  return {
    state: entry.state === "Serving" && !serving ? "Pending" : entry.state === "Updating" && anothers ? "Loading" : entry.state,
    serving,
    current: serving && entry.state === "Serving" && declared && p.current,
    digest: anothers ? undefined : entry.contentDigest,
    reason: reasonOf(entry.reason) ?? (serving || p.view.engineReady ? undefined : "EngineUnavailable"),
    message: entry.message ?? (p.view.engineReady ? undefined : p.view.engineMessage),
    final: failed && !entry.retryable && entry.nextRetryTime === undefined,
    attempts: entry.attempts,
    nextRetryTime: entry.nextRetryTime,
  };
}

/** Whether what a sidecar was told is what it is to have. */
export function isTold({ content: { url, digest } }: ObservedPod, entry: AdapterView): boolean {
  if (entry.artifactUrl !== url) return false;
  return digest === undefined || entry.declaredDigest === undefined || entry.declaredDigest === digest;
}

/** Why the content that is to come next does not come to the pod. */
function failedNext({ rollout: { update } }: Observed, { prepared }: AdapterView): Partial<PodState> | undefined {
  if (update === undefined) return undefined;
  // Of an update that failed the status tells once, not on every pod.
  const { content } = update;
  if (prepared?.state === "Failed" && prepared.artifactUrl === content.url && prepared.refresh === content.ask) {
    const { attempts, nextRetryTime } = prepared;
    return { reason: reasonOf(prepared.reason), message: prepared.message, attempts, nextRetryTime };
  }
  return undefined;
}

function byEngine(o: Observed, p: ObservedPod): PodState {
  const entry = p.view.adapters.get(o.name);
  if (entry === undefined) return withoutEntry(o, p);
  if (entry.base) return conflict("the engine serves a base model under this name: give the adapter another name");
  if (!askedEver(o, p))
    return conflict(
      `the engine has another adapter of this name (from ${entry.root ?? "somewhere"}), which somebody else loaded: unload it there, or give this one another name`,
    );
  if (unproven(o, p)) return withoutEntry(o, p);
  if (!listsOther(o, p)) return { ...QUIET, state: "Serving", serving: true, current: p.current, ...failedNext(o, entry) };
  return servedBefore(o, p) ? { ...QUIET, state: "Updating", serving: true } : withoutEntry(o, p);
}

/**
 * Whether this very adapter was seen to serve on the pod. Other content than the declared one is its own older one then; else it is of an adapter
 * of before that had the name, and whoever asks for this one is not to get that.
 */
export function servedBefore(o: Observed, p: ObservedPod): boolean {
  const row = rowOf(o, p);
  return row?.firstServedTime !== undefined || row?.state === "Serving" || row?.state === "Updating";
}

/** Whether what a sidecar serves under the name is older than this adapter. */
function isAnothers(o: Observed, p: ObservedPod, entry: AdapterView): boolean {
  if (servedBefore(o, p)) return false;
  const { owner, state, artifactUrl } = entry;
  // Once it was declared anew it is this one's, and serves what it served until the new content is in.
  return state === "Updating" || (owner !== undefined && !isDeclaredBy(entry, o.adapter) && !isDeclared(o.adapter, artifactUrl));
}

/** Whether an engine without sidecar has under the adapter's name, by our doing, weights from somewhere else than is declared. */
export function listsOther(o: Observed, p: ObservedPod): boolean {
  const entry = p.via === "direct" && p.view.knowledge === "fresh" ? p.view.adapters.get(o.name) : undefined;
  return entry !== undefined && !entry.base && askedEver(o, p) && !unproven(o, p) && entry.root !== engineRoot(p.delivery);
}

/**
 * Whether an engine without sidecar lists the adapter, and has not answered a request under its name since it was loaded there first. An
 * earlier process may have ended between the two.
 */
export function unproven(o: Observed, p: ObservedPod): boolean {
  const entry = p.view.adapters.get(o.name);
  if (p.via !== "direct" || entry === undefined || entry.base) return false;
  if (!entry.serving) return true;
  const row = rowOf(o, p);
  const { done, running } = p.call;
  const inherited = running === undefined && (done === undefined || done.atMs === 0);
  // Content from elsewhere makes room, whether it answers or not.
  if (entry.root !== engineRoot(p.delivery)) return false;
  // Nobody knows whether that ever answered.
  if (o.probe === "auto" && done === undefined && row?.asked !== true && listsLeft(o, p)) return true;
  return o.probe === "auto" && inherited && row?.asked === true && row.loadingSince !== undefined && row.firstServedTime === undefined;
}

/** A pod that has been asked and does not have the adapter, or only lists it so far. */
function withoutEntry(o: Observed, p: ObservedPod): PodState {
  const { running } = p.call;
  // Why it was in vain before is as true as it was.
  if (running === "load" && p.via === "sidecar") return { ...refusedCall(o, p), state: "Pending", final: false };
  if (running === "load") return { ...refusedCall(o, p), state: "Loading", final: false, nextRetryTime: undefined };
  if (o.secretTrouble !== undefined) {
    // Of these only an API server that does not answer mends itself.
    const final = o.secretTrouble.reason !== "SecretUnavailable";
    return { ...QUIET, state: final ? "Failed" : "Pending", ...o.secretTrouble, final };
  }
  if (inheritedUntilMs(o, p) !== undefined) return { ...QUIET, state: "Loading" };
  return refusedCall(o, p);
}

/** What the last load came to, where it was in vain. */
function refusedCall(o: Observed, p: ObservedPod): PodState {
  const failure = failedLoad(p);
  if (failure !== undefined) return { ...QUIET, state: "Failed", ...told(failure) };
  const before = refusedBefore(p);
  return before === undefined ? unshown(o, p, p.call.accepted.load) : { ...QUIET, state: "Failed", ...before, final: true, attempts: 1 };
}

/**
 * Why the pod refused for good what would be asked of it now, though it shows nothing of that any more: what a sidecar had failed with goes when
 * the adapter leaves the pod. What was only seen there is over when it is seen no more.
 */
export function refusedBefore({ refusal }: ObservedPod): Refusal | undefined {
  return refusal === undefined || isSeen(refusal) ? undefined : refusal;
}

/** The last load, where it was refused and nothing else is wanted since. */
export function failedLoad(p: ObservedPod): CallFailure | undefined {
  const { failure } = p.call;
  return failure?.kind === "load" && isOfNow(p, failure) ? failure : undefined;
}

/** Whether a call that failed asked for what is wanted now; one that failed for good, also of the engine's run that there is now. */
export function isOfNow(p: ObservedPod, { fingerprint, retryable }: CallFailure): boolean {
  return fingerprint === (retryable ? p.fingerprint : p.refusalFingerprint);
}

function told(failure: CallFailure): Pick<PodState, "reason" | "message" | "final" | "attempts" | "nextRetryTime"> {
  return {
    reason: failure.reason,
    message: failure.message,
    final: !failure.retryable,
    attempts: failure.attempts,
    nextRetryTime: failure.retryAtMs === undefined ? undefined : new Date(failure.retryAtMs).toISOString(),
  };
}

/** A load that was accepted, and nothing shows. */
function unshown(o: Observed, p: ObservedPod, load: Accepted | undefined): PodState {
  if (load?.fingerprint !== p.fingerprint) return QUIET;
  // The last one may still show; those before it did not.
  const vain = o.nowMs < load.settledAtMs ? load.times - 1 : load.times;
  if (vain === 0) return QUIET;
  return {
    ...QUIET,
    state: "Failed",
    reason: p.via === "sidecar" ? "RuntimeUnavailable" : "EngineRefused",
    message:
      p.via === "sidecar"
        ? `the sidecar aibrix-runtime accepted the adapter and does not show it: look into the log of the pod's container aibrix-runtime`
        : `the engine accepted the adapter and does not list it: look into the engine's log`,
    attempts: vain,
    nextRetryTime: new Date(load.againAtMs).toISOString(),
  };
}

/**
 * What the pod shows of calls that were made: their effect is there, so that the next one of the kind is no repetition. Pure.
 */
export function shownCalls(o: Observed, p: ObservedPod): CallKind[] {
  if (p.view.knowledge !== "fresh" || p.call.running !== undefined) return [];
  const entry = p.view.adapters.get(o.name);
  if (entry === undefined || entry.base) return ["unload", "release"];
  const declared =
    p.via === "sidecar"
      ? isDeclaredBy(entry, o.adapter) && entry.own === true && isTold(p, entry) && entry.state !== "Draining"
      : entry.root === engineRoot(p.delivery) && !unproven(o, p);
  // What is there already is no effect of a call that says more than its URL: keys, limits.
  const { done } = p.call;
  const said = p.via === "direct" || (done?.kind === "load" ? done.fingerprint === p.fingerprint : !o.usesSecrets);
  return declared && said ? ["load"] : [];
}

/** The pod has what was declared before; what is declared now cannot get there. */
function refused(state: PodState, { reason, message }: Extract<Delivery, { kind: "refused" }>): PodState {
  if (state.reason === "NameConflict") return state;
  return { ...state, state: state.serving ? "Updating" : "Failed", current: false, reason, message, final: true, nextRetryTime: undefined };
}

function conflict(message: string): PodState {
  return { ...QUIET, state: "Failed", reason: "NameConflict", message, final: true };
}

function unavailable(p: ObservedPod): Reason {
  return p.via === "sidecar" ? "RuntimeUnavailable" : "EngineUnavailable";
}

function reasonOf(text: string | undefined): Reason | undefined {
  return text !== undefined && text in REASONS ? (text as Reason) : undefined;
}
