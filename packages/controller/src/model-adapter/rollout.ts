import {
  ANNOTATION_ABORT,
  ANNOTATION_PROMOTE,
  ANNOTATION_REFRESH,
  ArtifactUrlError,
  DEFAULT_MIN_REQUESTS,
  parseArtifactUrl,
  REASONS,
  type Reason,
} from "@aibrix/api";
import type { AdapterView, PodView } from "../engines/agent.ts";
import type { CallFailure, CallState } from "../engines/calls.ts";
import { type Delivery, engineRoot } from "../pods/delivery.ts";
import {
  begin,
  type Canary,
  dueMs as canaryDueMs,
  canaryPods,
  type Followed,
  follow,
  type Health,
  intervalMs,
  isJudged,
  type Pace,
  type Share,
  type Step,
  stepsOf,
  unhealthy,
} from "./canary.ts";
import type { Content, Handled, PodPlan, Rollout, Served, Trials, Update, UpdateState } from "./contents.ts";
import { declaredUrl } from "./declared-url.ts";
import type { ModelAdapterObject } from "./types.ts";

/*
 * Which content each pod is to have: what is declared, or what served before while the declared one is not there yet, or cannot be served. Pure:
 * it goes on from what the status says and what the pods show, so that a controller that is started anew decides the same.
 *
 *   served ──edit──▶ Preparing ──all pods have it──▶ Swapping ──all pods serve it──▶ served
 *                        └── it is bad, or aborted ────┴──▶ Failed ──edit──▶ …
 *
 * With the strategy Canary Swapping goes by steps: some pods get the new content, the others keep the old one.
 */

/** What of a pod bears on it. */
export interface RolloutPod {
  readonly uid: string;
  readonly name: string;
  /** It is to have the adapter, and does not end. */
  readonly takesPart: boolean;
  readonly ready: boolean;
  /** It has served the adapter before. */
  readonly hasServed: boolean;
  /** In the adapter's slices. */
  readonly listed: boolean;
  /** There as one that has a content on trial. */
  readonly onTrial: boolean;
  /** Somebody could answer there: a pod that waits for a node has none. */
  readonly hasAddress: boolean;
  readonly via: "sidecar" | "direct";
  readonly view: PodView;
  readonly call: CallState;
  /** How often its engine's container was started anew. */
  readonly engineRestarts: number;
  /** Its engine lists the adapter, but not by our doing, or has not answered under its name yet. */
  readonly doubtful: boolean;
  /** How it would get a content. */
  readonly delivery: (content: Content) => Delivery;
  /** Whether a call that failed asked for this content. */
  readonly isOf: (failure: CallFailure, content: Content) => boolean;
  /** Whether its sidecar, as it runs now, has what belongs to a content and is written down nowhere: keys and credentials. */
  readonly hasSecrets: (content: Content) => boolean;
}

export interface RolloutInput {
  readonly name: string;
  readonly adapter: ModelAdapterObject | undefined;
  readonly pods: readonly RolloutPod[];
  /** Version of the Secrets in use. */
  readonly secrets: string;
  readonly secretTrouble: { readonly reason: Reason; readonly message: string } | undefined;
  /** What the gateways counted in a step, by the step's name. */
  readonly health?: ((step: string) => Health | undefined) | undefined;
  /** What was seen so far of the pods that have the content on its way. */
  readonly trials?: Trials | undefined;
  readonly nowMs: number;
}

const NOTHING: Content = { url: "/", refresh: undefined, digest: undefined, revision: undefined };

/** Of a pod of which nothing is to be decided. */
export const NOBODY: PodPlan = {
  content: NOTHING,
  current: true,
  unrouted: false,
  decided: true,
  prepare: undefined,
  checks: false,
  weight: undefined,
};

/** Names the step of a canary of which the gateways send requests to the new content; `undefined` where there is none. */
export function stepName(update: Update | undefined): string | undefined {
  const { canary } = update ?? {};
  if (update?.state !== "Swapping" || canary === undefined || canary.weight === 0 || canary.weight === 100) return undefined;
  // Not by when it began: a canary that comes and goes is judged by all that it answered.
  return `${update.startMs} ${canary.step} ${canary.weight}`;
}

/** Decides which content each pod is to have. Pure. */
export function rollout(i: RolloutInput): Rollout {
  const { adapter } = i;
  const nothing = { update: undefined, againAtMs: undefined, isEverywhere: true, trials: undefined };
  if (adapter === undefined) return { ...nothing, served: undefined, pods: new Map(), handled: NOTHING_HANDLED };
  const said = told(adapter);
  const view = new View(i, said.update);
  const asks = asksOf(adapter, said.update);
  const through = afterCompletion(said, view, i, asks);
  const before = through?.before ?? derived(adapter, view, i.nowMs);
  const wanted = target(adapter, before, i.nowMs);
  const served = before.served ?? established(wanted, view, i.nowMs);
  if (served === undefined) return { ...nothing, served, pods: everywhere(view, wanted), handled: asks.handled };
  const refreshAtMs = dueMs(adapter, served, i.nowMs);
  const settled = (now: Served): Rollout => ({
    ...nothing,
    served: now,
    pods: assign(view, () => now, { served: now, update: undefined }),
    againAtMs: refreshAtMs,
    isEverywhere: view.isEverywhere(now),
    handled: asks.handled,
  });
  if (isSame(wanted, served)) return settled(served);
  const { update, promoted } = advance(i, view, wanted, served, before.update, asks);
  const done = completed(update, before.update, view, i, asks);
  if (done !== undefined) return settled(done);
  const steps = stepsOf(adapter.spec.rollout);
  const stepAtMs = update.canary === undefined || steps === undefined ? undefined : canaryDueMs(steps, update.canary);
  // One that nothing came of waits, as long as there is something that it may lead on.
  const waits = asks.promote && !promoted && update.state === "Swapping" && update.canary !== undefined;
  return {
    served,
    update,
    pods: assign(view, goals(view, served, update, steps, isPaused(adapter)), { served, update }),
    againAtMs: soonest(i.nowMs, refreshAtMs, stepAtMs),
    isEverywhere: view.isEverywhere(served),
    handled: waits ? { ...asks.handled, promote: adapter.status?.lastHandledPromote } : asks.handled,
    trials: update.state === "Swapping" ? view.trials(update) : undefined,
  };
}

function soonest(nowMs: number, ...times: readonly (number | undefined)[]): number | undefined {
  const toCome = times.filter((t): t is number => t !== undefined && t > nowMs);
  return toCome.length === 0 ? undefined : Math.min(...toCome);
}

function isPaused({ spec }: ModelAdapterObject): boolean {
  return spec.rollout?.paused === true;
}

const NOTHING_HANDLED: Handled = { promote: undefined, abort: undefined };

/** What somebody asks for by annotations that were not acted on yet. */
interface Asks {
  readonly promote: boolean;
  /** The annotation's value. */
  readonly abort: string | undefined;
  readonly handled: Handled;
}

/** The longest value that the status keeps. */
const MAX_ASK = 1_024;

/** A promotion waits for the end of a pause; where nothing is on trial it is over. */
function asksOf({ metadata, spec, status }: ModelAdapterObject, update: Update | undefined): Asks {
  const value = (annotation: string, last: string | undefined) => {
    const now = metadata.annotations?.[annotation]?.slice(0, MAX_ASK);
    return now === undefined || now === "" || now === last ? undefined : now;
  };
  const [lastPromote, lastAbort] = [status?.lastHandledPromote, status?.lastHandledAbort];
  const promote = value(ANNOTATION_PROMOTE, lastPromote);
  const abort = value(ANNOTATION_ABORT, lastAbort);
  const onTrial = update?.state === "Swapping" && update.canary !== undefined;
  const waits = onTrial && spec.rollout?.paused === true;
  return {
    promote: promote !== undefined && onTrial && !waits,
    abort,
    handled: { promote: waits ? lastPromote : (promote ?? lastPromote), abort: abort ?? lastAbort },
  };
}

/** Whether two contents are asked for by the same words. */
export function isSame(a: Content, b: Content): boolean {
  return String(a.url) === String(b.url) && a.refresh === b.refresh;
}

interface Before {
  readonly served: Served | undefined;
  readonly update: Update | undefined;
}

/** What the status says. */
function told({ status }: ModelAdapterObject): Before {
  if (status?.served === undefined) return { served: undefined, update: undefined };
  const { artifactURL, refresh, resolvedTime } = status.served;
  const digest = pinnable(artifactURL) ? status.contentDigest : undefined;
  const served = { url: artifactURL, refresh, digest, revision: status.resolvedRevision, resolvedMs: Date.parse(resolvedTime) };
  const u = status.update;
  if (u === undefined) return { served, update: undefined };
  const reason = u.reason !== undefined && u.reason in REASONS ? (u.reason as Reason) : undefined;
  const url = reason === "InvalidArtifactURL" ? new ArtifactUrlError(u.message ?? "") : u.artifactURL;
  const isRefresh = url === artifactURL;
  const content = { url, refresh: u.refresh, digest: u.contentDigest, revision: u.resolvedRevision, isRefresh };
  const { state, fingerprint, message } = u;
  const byClock = isByClock(content, served);
  const sinceMs = u.stepTime === undefined ? undefined : Date.parse(u.stepTime);
  const canary = u.step === undefined ? undefined : { step: u.step, weight: u.weight ?? 0, sinceMs };
  return { served, update: { content, state, fingerprint, startMs: Date.parse(u.startTime), reason, message, byClock, canary } };
}

/** An update that is through is so, whatever is declared since; but not where the same turn ends it. */
function afterCompletion(before: Before, view: View, i: RolloutInput, asks: Asks): { readonly before: Before } | undefined {
  const { served, update } = before;
  if (served === undefined) return undefined;
  const ends = update === undefined || ended(update, view, i, asks) !== undefined;
  const done = ends ? undefined : completed(update, update, view, i, asks);
  return { before: done === undefined ? before : { served: done, update: undefined } };
}

/**
 * What a controller of before, which wrote down less, has had served: something else than is declared now. A sidecar that was told already what
 * is declared now does not say where its content came from.
 */
function derived({ status, metadata }: ModelAdapterObject, view: View, nowMs: number): Before {
  const isServed = status?.observedGeneration !== undefined && status.observedGeneration !== metadata.generation;
  const settled = (p: RolloutPod) => p.via === "direct" || view.entry(p)?.state === "Serving";
  const pod = isServed ? view.mostAlike(view.pods.filter((p) => view.serving(p) && p.listed && settled(p))) : undefined;
  const entry = pod === undefined ? undefined : view.entry(pod);
  if (pod === undefined || entry === undefined) return { served: undefined, update: undefined };
  const url = pod.via === "sidecar" ? entry.artifactUrl : urlOfRoot(entry.root);
  const digest = url?.startsWith("/") === true ? undefined : entry.contentDigest;
  const served = url === undefined ? undefined : { url, refresh: undefined, digest, revision: undefined, resolvedMs: nowMs };
  return { served, update: undefined };
}

function urlOfRoot(root: string | undefined): string | undefined {
  return root === undefined || root.startsWith("/") ? root : `huggingface://${root}`;
}

/** The first content that is served is decided on, by most pods: those that have another one, of a reference that moved meanwhile, get this. */
function established(wanted: Content, view: View, nowMs: number): Served | undefined {
  if (wanted.url instanceof ArtifactUrlError) return undefined;
  const serving = view.pods.filter((p) => view.servesDeclared(p, wanted));
  const listed = serving.filter((p) => p.listed);
  const pod = view.mostAlike(listed.length > 0 ? listed : serving);
  if (pod === undefined) return undefined;
  return { ...wanted, url: wanted.url, ...found(wanted, pod, view), resolvedMs: nowMs };
}

/** Digest and revision of what a pod serves, where the content is told apart by them. */
function found({ url, digest, revision }: Content, pod: RolloutPod, view: View): Pick<Content, "digest" | "revision"> {
  const entry = view.entry(pod);
  return { digest: digest ?? (pinnable(url) ? entry?.contentDigest : undefined), revision: revision ?? entry?.revision };
}

/** Files that are read in place are of nobody's making here: another pod may have others there, and somebody may change them. */
function pinnable(url: Content["url"]): boolean {
  return typeof url === "string" && !url.startsWith("/");
}

/** What is declared now. */
function target(adapter: ModelAdapterObject, before: Before, nowMs: number): Content {
  const url = declaredUrl(adapter);
  return { url, refresh: refreshOf(adapter, url, before, nowMs), digest: undefined, revision: undefined };
}

const CLOCK = "@";

/** Whether only time asks for a content: the same reference is to be looked at once more. */
function isByClock({ url, refresh }: Content, served: Served): boolean {
  return url === served.url && refresh !== served.refresh && refresh?.includes(CLOCK) === true;
}

/** What of a request for another look is the annotation's value. */
function askedIn(refresh: string | undefined): string | undefined {
  const asked = refresh?.split(CLOCK)[0];
  return asked === "" ? undefined : asked;
}

/** Names a request for another look at the reference: by the annotation's value, and by how often the interval has passed since the last look. */
function refreshOf(
  { metadata, spec }: ModelAdapterObject,
  url: Content["url"],
  { served, update }: Before,
  nowMs: number,
): string | undefined {
  const annotation = metadata.annotations?.[ANNOTATION_REFRESH]?.replaceAll(CLOCK, " ").slice(0, 900);
  const asked = annotation === "" ? undefined : annotation;
  if (served === undefined) return asked;
  // Time that passes meanwhile, or an annotation that is taken away, asks for nothing new.
  if (isUnderWay(update, url) && (asked === undefined || asked === askedIn(update.content.refresh))) return update.content.refresh;
  const last = askedIn(served.refresh);
  if (asked !== undefined && asked !== last) return asked;
  const everyMs = intervalMs(spec.refreshInterval);
  const times = everyMs === undefined ? 0 : Math.floor((nowMs - served.resolvedMs) / everyMs);
  // What was resolved by the clock last stays so.
  if (everyMs === undefined || times < 1) return served.refresh;
  return `${last ?? ""}${CLOCK}${new Date(served.resolvedMs + times * everyMs).toISOString()}`;
}

function isUnderWay(update: Update | undefined, url: Content["url"]): update is Update {
  return update !== undefined && update.state !== "Failed" && update.content.url === url;
}

function dueMs({ spec }: ModelAdapterObject, served: Served, nowMs: number): number | undefined {
  const everyMs = intervalMs(spec.refreshInterval);
  if (everyMs === undefined) return undefined;
  const times = Math.max(0, Math.floor((nowMs - served.resolvedMs) / everyMs));
  return served.resolvedMs + (times + 1) * everyMs;
}

/** How far an update is, and whether a promotion led it on. */
interface Advanced {
  readonly update: Update;
  readonly promoted: boolean;
}

/** How far the update is by now. */
function advance(i: RolloutInput, view: View, wanted: Content, served: Served, last: Update | undefined, asks: Asks): Advanced {
  const fingerprint = `${i.adapter?.metadata.generation} ${i.secrets}`;
  const ask = `${fingerprint} ${wanted.refresh ?? ""}`;
  const stays = last?.state === "Failed" && failsStill(last, wanted, fingerprint, i);
  const goesOn = last !== undefined && last.state !== "Failed" && isSame(last.content, wanted);
  const isRefresh = wanted.url === served.url;
  if (stays) return { update: { ...last, content: { ...last.content, isRefresh, ask } }, promoted: false };
  const begun = goesOn ? last : undefined;
  const content = resolved({ ...wanted, digest: begun?.content.digest, revision: begun?.content.revision, isRefresh, ask }, view);
  const at = (state: UpdateState, why: Why | undefined, canary?: Canary, promoted = false): Advanced => ({
    update: {
      content,
      state,
      fingerprint,
      startMs: begun?.startMs ?? i.nowMs,
      reason: why?.reason,
      message: why?.message,
      byClock: isByClock(wanted, served),
      canary,
    },
    promoted,
  });
  const failed = (why: Why) => at("Failed", why, withdrawn(begun?.canary, why));
  const end = ended(begun, view, i, asks) ?? refused(view, content, begun?.state === "Swapping");
  if (end !== undefined) return failed(end);
  const rollout = i.adapter?.spec.rollout;
  const paused = rollout?.paused === true ? PAUSED : undefined;
  const steps = stepsOf(rollout);
  const share = view.share(content);
  const lonely = steps !== undefined && share.pods < 2 ? loneliness(share.pods) : undefined;
  const waits = i.secretTrouble ?? waiting(view, content);
  const swap = (): Advanced => {
    const { canary, promoted } = (steps === undefined ? undefined : onTrial(steps, begun?.canary, share, pace(i, asks, begun))) ?? {};
    const beside =
      steps === undefined || canary === undefined || canary.weight === 100
        ? undefined
        : (lonely ?? abandonment(share, served) ?? unjudged(i, steps, canary, begun));
    return at("Swapping", waits ?? paused ?? beside, canary, promoted);
  };
  if (begun?.state === "Swapping") return swap();
  // There is nothing to be kept: no pod serves the old content, or is about to.
  const known = view.awaited.length === 0;
  const protects = isRefresh || view.parts.some((p) => view.serving(p) || view.isComing(p));
  if (known && !protects) return at("Swapping", waits);
  // Where a reference leads to by now only its digest tells.
  const told = !isRefresh || content.digest !== undefined;
  // What was on trial before an edit goes first.
  const clear = !view.fresh.some((p) => view.goesBack(p, served, content));
  const prepared = view.fresh.length > 0 && view.fresh.every((p) => view.isPrepared(p, content)) && view.isChecked(content);
  const ready = known && told && clear && prepared;
  if (!ready || i.secretTrouble !== undefined) return at("Preparing", waits);
  // What it leads to may be what is served: then nothing is swapped.
  const isOther = content.digest === undefined || content.digest !== served.digest;
  const held = isOther ? (lonely ?? paused) : undefined;
  return held === undefined ? swap() : at("Preparing", waits ?? held);
}

/** Why an update that goes on ends: by somebody's word, or by what its content did to requests and engines; `undefined` where it does not. */
function ended(update: Update | undefined, view: View, i: RolloutInput, asks: Asks): Why | undefined {
  const reason = "UpdateAborted";
  if (asks.abort !== undefined) return { reason, message: `the annotation ${ANNOTATION_ABORT} was set to "${asks.abort.slice(0, 100)}"` };
  const restarted = update?.state === "Swapping" && update.canary !== undefined ? view.restarted() : undefined;
  if (restarted !== undefined) {
    const message = `the engine of pod ${restarted.name} was started anew after it had served the new content: look into the log of its run before`;
    return { reason, message };
  }
  const ill = unhealthy(i.adapter?.spec.rollout?.canary?.abortOn, healthOf(i, update));
  return ill === undefined ? undefined : { reason, message: ill };
}

/** What was counted in an update's present step. */
function healthOf(i: RolloutInput, update: Update | undefined): Health | undefined {
  const name = stepName(update);
  return name === undefined ? undefined : i.health?.(name);
}

/**
 * Whether an update that failed is not begun again. One that was ended on account of its content, or by somebody, is only where another content or
 * another look is asked for; one that could not be had or loaded, after any edit and with other Secrets, but not while these cannot be read.
 */
function failsStill({ reason, content, fingerprint }: Update, wanted: Content, now: string, { secretTrouble }: RolloutInput): boolean {
  if (reason === "UpdateAborted") return String(content.url) === String(wanted.url) && askedIn(content.refresh) === askedIn(wanted.refresh);
  return isSame(content, wanted) && (fingerprint === now || secretTrouble !== undefined);
}

/**
 * Nobody is sent any more to what was on trial. Where it was about to be everywhere that is so after an abort; if a pod could not load it, those that
 * could go back one after the other, in their places.
 */
function withdrawn(canary: Canary | undefined, { reason }: Why): Canary | undefined {
  if (canary === undefined || (canary.weight === 100 && reason !== "UpdateAborted")) return undefined;
  return { ...canary, weight: 0 };
}

const PAUSED: Why = { reason: "UpdatePaused", message: "spec.rollout.paused is true: it goes on once that is false" };

function loneliness(pods: number): Why {
  const message = `the strategy Canary needs two pods that serve the adapter, and there ${pods === 1 ? "is one" : "are none"}: it begins once there are two, or with the strategy RollingUpdate`;
  return { reason: "CanaryNeedsPods", message };
}

/** Where all pods that served the old content are lost. */
function abandonment({ old, known }: Share, { url }: Served): Why | undefined {
  if (old > 0 || !known) return undefined;
  const message = `no pod serves ${url} any more, so that all requests go to the new content: the step goes on once a pod does`;
  return { reason: "CanaryNeedsPods", message };
}

/** Where a step's time is over, and too few responses came to judge it. */
function unjudged(i: RolloutInput, steps: readonly Step[], canary: Canary, begun: Update | undefined): Why | undefined {
  const atMs = canaryDueMs(steps, canary);
  const { judged } = pace(i, { promote: false }, begun);
  if (atMs === undefined || i.nowMs < atMs || judged !== false) return undefined;
  const { minRequests = DEFAULT_MIN_REQUESTS } = i.adapter?.spec.rollout?.canary?.abortOn ?? {};
  const message = `its time is over, and fewer than ${minRequests} responses of the new content were counted (spec.rollout.canary.abortOn.minRequests): it goes on once there are as many, or by a promotion`;
  return { reason: "UpdateOnTrial", message };
}

function pace(i: RolloutInput, { promote }: Pick<Asks, "promote">, update: Update | undefined): Pace {
  const { paused, canary } = i.adapter?.spec.rollout ?? {};
  return { paused: paused === true, promote, judged: isJudged(canary?.abortOn, healthOf(i, update)), nowMs: i.nowMs };
}

/** Where a canary is by now; `undefined` where there is no pod with the old content that it could be tried beside. */
function onTrial(steps: readonly Step[], last: Canary | undefined, share: Share, at: Pace): Followed | undefined {
  const from = last ?? (share.old > 0 && share.pods > 1 ? begin(steps, share) : undefined);
  return from === undefined ? undefined : follow(steps, from, share, at);
}

/** Which content each pod is to have. */
function goals(
  view: View,
  served: Served,
  { state, content, canary }: Update,
  steps: readonly Step[] | undefined,
  paused: boolean,
): (p: RolloutPod) => Content {
  if (state !== "Swapping") return () => served;
  const weight = canary === undefined ? 100 : (steps?.[canary.step - 1]?.weight ?? 100);
  if (weight === 100 && !paused) return () => content;
  const chosen = new Set(view.onTrial(content, paused ? 0 : canaryPods(weight, view.share(content).pods)).map((p) => p.uid));
  return (p) => (chosen.has(p.uid) ? content : served);
}

interface Why {
  readonly reason: Reason;
  readonly message: string;
}

/** A reference is resolved once, by the first pod that has its content; every other pod gets exactly that. */
function resolved(content: Content, view: View): Content {
  if (content.digest !== undefined || !pinnable(content.url)) return content;
  for (const p of view.fresh) {
    const prepared = view.prepared(p, content);
    if (prepared?.state === "Ready") return { ...content, digest: prepared.contentDigest, revision: prepared.revision };
  }
  const serving = content.isRefresh === true ? undefined : view.fresh.find((p) => view.servesDeclared(p, content));
  return serving === undefined ? content : { ...content, ...found(content, serving, view) };
}

/** Why the new content is not going to be served. */
function refused(view: View, content: Content, swapping: boolean): Why | undefined {
  if (content.url instanceof ArtifactUrlError) return { reason: "InvalidArtifactURL", message: content.url.message };
  const { isRefresh = false } = content;
  for (const p of view.bearing(content)) {
    const delivery = p.delivery(content);
    if (delivery.kind === "refused") return { reason: delivery.reason, message: delivery.message };
    if (isRefresh && !view.canPrepare(p, content))
      return { reason: "RefreshUnsupported", message: `pod ${p.name}: ${whyNoRefresh(p, content.url)}` };
    const why = view.failure(p, content, swapping);
    if (why !== undefined && !why.retryable) return { reason: why.reason, message: `pod ${p.name}: ${why.message}` };
  }
  if (!swapping && view.cannotCheck(content))
    return {
      reason: "ChecksUnsupported",
      message:
        "none of its pods can have new content answer the prompts of spec.rollout.checks before it is served: add the sidecar aibrix-runtime of this release, and a volume that it shares with the engine, or take the checks out of the spec",
    };
  return undefined;
}

function whyNoRefresh(p: RolloutPod, url: string): string {
  if (p.via === "sidecar" && url.startsWith("/"))
    return `files in ${url} are read in place, and may not change under an engine: put the new ones at another path and edit artifactURL`;
  if (p.via === "sidecar" && p.view.prepares === false)
    return "its sidecar aibrix-runtime is of an earlier release, and cannot fetch new content beside the old: update its image";
  return `its engine reads ${url} itself, and nobody can tell or change what that leads to: add the sidecar aibrix-runtime and a volume that it shares with the engine, or put the new files at another path or repository and edit artifactURL`;
}

/** What it waits for, where something goes wrong that may end by itself. */
function waiting(view: View, content: Content): Why | undefined {
  const [down] = view.down;
  for (const p of view.fresh) {
    const why = p === down ? undefined : view.failure(p, content, true);
    if (why !== undefined) return { reason: why.reason, message: `pod ${p.name}: ${why.message}` };
  }
  const [silent] = view.awaited.filter((p) => p !== down);
  if (silent !== undefined)
    return { reason: "RuntimeUnavailable", message: `pod ${silent.name} has not answered yet which content it serves` };
  if (down === undefined) return undefined;
  const { engineMessage } = down.view;
  const message = `pod ${down.name} has served the new content and does not now${engineMessage === undefined ? "" : ` (${engineMessage})`}: no other pod takes its place, nor its turn, as long as it is there`;
  return { reason: "EngineUnavailable", message };
}

/**
 * The content that an update has brought to every pod that clients may be sent to; `undefined` while one lacks it. A canary is through only where the
 * status has told already that every pod gets it.
 */
function completed(update: Update, said: Update | undefined, view: View, i: RolloutInput, asks: Asks): Served | undefined {
  const { content, canary } = update;
  if (update.state !== "Swapping" || content.url instanceof ArtifactUrlError) return undefined;
  const first = view.firstOfAll(content);
  if (first === undefined) return undefined;
  const steps = stepsOf(i.adapter?.spec.rollout);
  if (canary !== undefined && steps !== undefined) {
    if (said?.canary?.weight !== 100) return undefined;
    if (!follow(steps, canary, view.share(content), pace(i, asks, update)).done) return undefined;
  }
  const { url, refresh } = content;
  return { url, refresh, ...found(content, first, view), resolvedMs: i.nowMs };
}

/** Before anything was served there is nothing to be kept. */
function everywhere(view: View, content: Content): ReadonlyMap<string, PodPlan> {
  return new Map(
    view.pods.map((p) => [
      p.uid,
      { content, current: true, unrouted: false, decided: view.isDecided(p, []), prepare: undefined, checks: false, weight: undefined },
    ]),
  );
}

/**
 * What each pod is told.
 *
 * @param goalOf - what each is to have in the end
 */
function assign(
  view: View,
  goalOf: (p: RolloutPod) => Content,
  { served, update }: { readonly served: Served; readonly update: Update | undefined },
): Rollout["pods"] {
  const current = update?.content ?? served;
  const prepare = update?.state === "Preparing" ? update.content : undefined;
  const good = update === undefined ? [served] : [served, update.content];
  const weights = new Map(view.pods.map((p) => [p, weightOf(view, p, served, update)]));
  const swapping = new Set(view.nextToSwap(goalOf, (p) => weights.get(p) === 0));
  const checker = prepare === undefined ? undefined : view.checker(prepare);
  const resolver = prepare === undefined || isExact(prepare) ? undefined : (checker ?? view.resolver(prepare));
  const others = (p: RolloutPod) =>
    view.parts.some((q) => q !== p && q.ready && !swapping.has(q) && weights.get(q) !== 0 && view.answers(q));
  return new Map(
    view.pods.map((p): [string, PodPlan] => {
      const goal = goalOf(p);
      const has = view.serves(p, goal);
      const moves = !has && view.serving(p);
      // Those whose turn has not come keep what they have.
      const content = !moves || swapping.has(p) ? goal : (view.own(p, [goal, current, served]) ?? goal);
      const isCurrent = content === goal ? isSame(goal, current) : false;
      const asks = prepare !== undefined && (resolver === undefined || p === resolver) && view.canPrepare(p, prepare);
      return [
        p.uid,
        {
          content,
          current: isCurrent,
          // Not only by its weight: whoever uses the slices without our gateway knows of none.
          unrouted: ((swapping.has(p) && moves) || weights.get(p) === 0) && others(p),
          decided: view.isDecided(p, good),
          prepare:
            (asks && view.wantsPrepare(p, prepare, p === checker)) || (update === undefined && view.isAbandoned(p, served))
              ? (prepare ?? served)
              : undefined,
          checks: p === checker,
          weight: weights.get(p),
        },
      ];
    }),
  );
}

/** What the gateway sends to a pod that has a content on trial; nothing to one that still has it, once it is on trial no more. */
function weightOf(view: View, p: RolloutPod, served: Served, update: Update | undefined): number | undefined {
  if (view.serves(p, served)) return undefined;
  const isNew = update !== undefined && view.serves(p, update.content);
  const isUnknown = p.view.knowledge !== "fresh";
  const { canary } = update ?? {};
  if (canary !== undefined && canary.weight < 100 && isNew) return canary.weight;
  const isThrough = update?.state === "Swapping" && (canary === undefined || canary.weight === 100);
  if (isThrough && (isNew || isUnknown)) return undefined;
  return p.onTrial ? (canary?.weight ?? 0) : undefined;
}

/** Whether a URL leads to one content for ever: pods need not wait for the first of them. */
function isExact({ url, digest }: Content): boolean {
  if (digest !== undefined || url instanceof ArtifactUrlError) return true;
  const source = parseArtifactUrl(url);
  return (
    source.sha256 !== undefined || source.kind === "path" || (source.kind === "huggingface" && /^[0-9a-f]{40}$/.test(source.revision ?? ""))
  );
}

/** What pods show, in the words of this file. */
class View {
  readonly pods: readonly RolloutPod[];
  /** Pods that are to have the adapter. */
  readonly parts: readonly RolloutPod[];
  /** Of these, those that are known. */
  readonly fresh: readonly RolloutPod[];
  /** And those that clients may be sent to, and that have not said yet what they have. */
  readonly awaited: readonly RolloutPod[];
  readonly #name: string;
  /** New content has to answer prompts first. */
  readonly #hasChecks: boolean;
  /** It was said that no older content is served any more. */
  readonly #promised: boolean;
  readonly #maxUnavailable: number;
  /** Of pods that have served the content on its way: how often their engines had been started anew by then. */
  readonly #tried: ReadonlyMap<string, number>;

  /** @param update - on its way, as the status tells */
  constructor({ pods, name, adapter, trials }: RolloutInput, update: Update | undefined) {
    this.#tried = trials !== undefined && trials.startMs === update?.startMs ? trials.restarts : new Map();
    this.#name = name;
    this.#hasChecks = (adapter?.spec.rollout?.checks ?? []).length > 0;
    this.#promised = adapter?.status?.conditions?.some((c) => c.type === "Updated" && c.status === "True") === true;
    this.#maxUnavailable = adapter?.spec.rollout?.rollingUpdate?.maxUnavailable ?? 1;
    this.pods = [...pods].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.parts = this.pods.filter((p) => p.takesPart);
    this.fresh = this.parts.filter((p) => p.view.knowledge === "fresh");
    this.awaited = this.parts.filter((p) => p.view.knowledge === "awaited" && p.hasAddress && (p.hasServed || p.listed));
  }

  entry(p: RolloutPod): AdapterView | undefined {
    const entry = p.view.adapters.get(this.#name);
    return entry === undefined || entry.base || p.doubtful || entry.own === false ? undefined : entry;
  }

  /** Its engine could serve it now. */
  mayServe(p: RolloutPod): boolean {
    return p.ready && (p.via === "direct" || p.view.engineReady);
  }

  /** Something answers there under the name. */
  serving(p: RolloutPod): boolean {
    return p.view.knowledge === "fresh" && this.mayServe(p) && this.entry(p)?.serving === true;
  }

  /** The same, or nothing is known to the contrary. */
  answers(p: RolloutPod): boolean {
    return this.serving(p) || (p.view.knowledge === "awaited" && p.listed);
  }

  /** Somebody's requests go there, or went. A pod that never served anything holds nobody up. */
  hasUsers(p: RolloutPod): boolean {
    return p.hasServed || this.serving(p);
  }

  /** Of pods that serve, one with the content that most of them have. */
  mostAlike(pods: readonly RolloutPod[]): RolloutPod | undefined {
    const alike = Map.groupBy(pods, (p) => {
      const entry = this.entry(p);
      return entry?.contentDigest ?? entry?.artifactUrl ?? entry?.root;
    });
    return [...alike.values()].sort((a, b) => b.length - a.length)[0]?.[0];
  }

  /**
   * Whether clients may be sent to what a pod serves: to one of the contents that are decided on. A pod that has another one, from before an edit
   * was taken back, say, keeps its place until its turn has come, so that never many leave at once; but not once it was told that nothing older
   * is served.
   */
  isDecided(p: RolloutPod, good: readonly Content[]): boolean {
    // Before it answers, what was decided last stays.
    if (p.view.knowledge === "awaited") return p.listed || !this.parts.some((q) => q.listed);
    if (p.view.knowledge !== "fresh" || this.entry(p) === undefined || good.length === 0) return true;
    return this.#hasAny(p, good) || (p.listed && !(this.#promised && this.parts.some((q) => q.listed && this.#hasAny(q, good))));
  }

  #hasAny(p: RolloutPod, good: readonly Content[]): boolean {
    return good.some((c) => this.serves(p, c) || this.#waitsFor(p, c, good));
  }

  /** It was told an update's content, and serves what it had before: nothing more exact is known of a path that is read in place. */
  #waitsFor(p: RolloutPod, content: Content, good: readonly Content[]): boolean {
    const entry = this.entry(p);
    const [served] = good;
    if (content === served || entry?.state !== "Updating" || !this.isTold(p, content)) return false;
    return served?.digest === undefined || entry.contentDigest === undefined;
  }

  /** Whether every pod that clients may be sent to serves a content. */
  isEverywhere(content: Content): boolean {
    return this.parts.every(
      (p) => !p.listed || p.view.knowledge === "lost" || (p.view.knowledge === "fresh" && !this.serving(p)) || this.serves(p, content),
    );
  }

  /** It is on its way back there: its engine starts, say. */
  isComing(p: RolloutPod): boolean {
    const entry = this.entry(p);
    return p.via === "sidecar" && entry !== undefined && entry.state !== "Failed";
  }

  serves(p: RolloutPod, content: Content): boolean {
    const entry = this.entry(p);
    if (entry === undefined || !this.serving(p)) return false;
    if (content.isRefresh === true && content.digest === undefined) return false;
    if (p.via === "direct") return entry.root === engineRoot(p.delivery(content));
    if (content.digest !== undefined && entry.contentDigest !== undefined) return entry.contentDigest === content.digest;
    return entry.state === "Serving" && entry.artifactUrl === content.url;
  }

  /** The same, of what it was told by these words, whatever they led to. */
  servesDeclared(p: RolloutPod, content: Content): boolean {
    const entry = this.entry(p);
    if (p.via === "direct" || entry === undefined) return this.serves(p, content);
    return this.serving(p) && entry.state === "Serving" && entry.artifactUrl === content.url;
  }

  /** What it has of these; else what it says itself. */
  own(p: RolloutPod, contents: readonly Content[]): Content | undefined {
    const known = contents.find((c) => this.serves(p, c));
    if (known !== undefined) return known;
    const entry = this.entry(p);
    const url = p.via === "sidecar" ? entry?.artifactUrl : urlOfRoot(entry?.root);
    return url === undefined
      ? undefined
      : { ...NOTHING, url, digest: p.via === "sidecar" && pinnable(url) ? entry?.declaredDigest : undefined };
  }

  /** Pods that say something about a content: one that never served anything, and is refused it for good, has nothing to be taken from. */
  bearing(content: Content): readonly RolloutPod[] {
    return this.fresh.filter((p) => p.hasServed || this.serving(p) || this.failure(p, content, true)?.retryable !== false);
  }

  canPrepare(p: RolloutPod, content: Content): boolean {
    const delivery = p.delivery(content);
    return (
      p.via === "sidecar" &&
      p.view.prepares !== false &&
      (delivery.kind === "volume" || (delivery.kind === "asIs" && delivery.checked && !this.#isInPlace(p, content)))
    );
  }

  /** A path that is served already: new files at an old path would give wrong text. */
  #isInPlace(p: RolloutPod, { url }: Content): boolean {
    return this.entry(p)?.artifactUrl === url;
  }

  prepared(p: RolloutPod, { url, ask, digest }: Content): NonNullable<AdapterView["prepared"]> | undefined {
    const prepared = this.entry(p)?.prepared;
    if (prepared === undefined || prepared.artifactUrl !== url || prepared.refresh !== ask) return undefined;
    return digest === undefined || prepared.contentDigest === undefined || prepared.contentDigest === digest ? prepared : undefined;
  }

  isPrepared(p: RolloutPod, content: Content): boolean {
    // What serves nothing has nothing to be kept, and gets it by a load.
    if (!this.canPrepare(p, content) || !this.serving(p)) return true;
    // Once it is told, its preparation is used up.
    return this.isTold(p, content) || this.serves(p, content) || this.prepared(p, content)?.state === "Ready";
  }

  /** @param checks - and it is to answer the prompts there */
  wantsPrepare(p: RolloutPod, content: Content, checks: boolean): boolean {
    if (!p.takesPart || !this.serving(p) || this.serves(p, content) || this.isTold(p, content)) return false;
    const prepared = this.prepared(p, content);
    return prepared === undefined || (checks && prepared.checks === undefined);
  }

  /**
   * It has something else to get next than what it serves, from an edit that was taken back, say. To be told to prepare what it serves ends that; a
   * sidecar of an earlier release has that prepared then.
   */
  isAbandoned(p: RolloutPod, served: Served): boolean {
    const entry = this.entry(p);
    const prepared = entry?.prepared;
    if (prepared === undefined || served.digest === undefined || !p.takesPart || p.delivery(served).kind !== "volume") return false;
    if (prepared.contentDigest === served.digest || (prepared.artifactUrl === served.url && prepared.refresh === undefined)) return false;
    return entry?.artifactUrl === served.url && this.serves(p, served);
  }

  /** Pods on which it could answer them, now or soon. */
  #checkable(content: Content): readonly RolloutPod[] {
    if (!this.#hasChecks) return [];
    return this.fresh.filter((p) => this.canPrepare(p, content) && !this.serves(p, content) && (this.serving(p) || this.isComing(p)));
  }

  /** The pod on which it answers them for all: who has begun, else the first; `undefined` where there is nothing to answer. */
  checker(content: Content): RolloutPod | undefined {
    const able = this.#checkable(content).filter((p) => this.serving(p));
    return (
      able.find((p) => this.prepared(p, content)?.checks !== undefined) ??
      able.find((p) => this.prepared(p, content) !== undefined) ??
      able[0]
    );
  }

  /** It has answered them, or nothing is left that it could spoil. */
  isChecked(content: Content): boolean {
    const able = this.#checkable(content);
    const hasPassed = (p: RolloutPod) => this.prepared(p, content)?.state === "Ready" && this.prepared(p, content)?.checks !== undefined;
    return able.length === 0 || able.some((p) => hasPassed(p) || this.isTold(p, content));
  }

  /** Something serves, and no pod could have new content answer them. */
  cannotCheck(content: Content): boolean {
    return this.#hasChecks && this.fresh.some((p) => this.serving(p)) && !this.fresh.some((p) => this.canPrepare(p, content));
  }

  /** Who resolves a reference for all: who has begun, else the first. */
  resolver(content: Content): RolloutPod | undefined {
    const able = this.fresh.filter((p) => this.canPrepare(p, content) && this.serving(p));
    return able.find((p) => this.prepared(p, content) !== undefined) ?? able[0];
  }

  /** Why a pod does not get a content. */
  failure(p: RolloutPod, content: Content, swapping: boolean): (Why & { readonly retryable: boolean }) | undefined {
    const entry = this.entry(p);
    const prepared = this.prepared(p, content);
    if (prepared?.state === "Failed") return why(prepared);
    const { failure } = p.call;
    if (failure?.kind === "prepare" && p.isOf(failure, content)) return failure;
    if (!swapping || this.serves(p, content)) return undefined;
    if (failure?.kind === "load" && p.isOf(failure, content)) return failure;
    // What a sidecar misses since it was restarted it is told again.
    if (!p.hasSecrets(content)) return undefined;
    const isIt = entry !== undefined && entry.artifactUrl === content.url && entry.message !== undefined && entry.reason !== undefined;
    const isTold = isIt && (content.digest === undefined || entry.declaredDigest === undefined || entry.declaredDigest === content.digest);
    return isTold && entry !== undefined && p.via === "sidecar"
      ? why({ ...entry, retryable: entry.retryable || entry.nextRetryTime !== undefined })
      : undefined;
  }

  /** A pod that serves a content, where every pod does that clients may be sent to. */
  firstOfAll(content: Content): RolloutPod | undefined {
    const open = [...this.awaited, ...this.fresh.filter((p) => this.hasUsers(p) && this.mayServe(p))];
    return open.every((p) => this.serves(p, content)) ? open[0] : undefined;
  }

  /** It serves a content, or was told to. */
  #has(p: RolloutPod, content: Content): boolean {
    return p.view.knowledge === "fresh" ? this.serves(p, content) || this.isTold(p, content) : p.onTrial;
  }

  share(content: Content): Share {
    const told = this.parts.filter((p) => this.#has(p, content) && (p.view.knowledge !== "fresh" || this.mayServe(p)));
    const serving = this.fresh.filter((p) => this.serves(p, content)).length;
    return {
      pods: new Set([...told, ...this.parts.filter((p) => this.answers(p) || this.#isBetween(p))]).size,
      serving,
      told: told.length,
      everywhere: this.firstOfAll(content) !== undefined,
      old: this.fresh.filter((p) => this.serving(p)).length - serving,
      known: this.awaited.length === 0,
    };
  }

  /** What is known by now of the pods that have the content of an update. */
  trials({ content, startMs }: Update): Trials {
    const restarts = this.parts.flatMap((p): [string, number][] => {
      const before = this.#tried.get(p.uid);
      if (this.serves(p, content)) return [[p.uid, before ?? p.engineRestarts]];
      return before === undefined || this.serving(p) ? [] : [[p.uid, before]];
    });
    return { startMs, restarts: new Map(restarts) };
  }

  /** A pod whose engine was started anew since it has served the content on its way. */
  restarted(): RolloutPod | undefined {
    return this.parts.find((p) => p.engineRestarts > (this.#tried.get(p.uid) ?? Number.POSITIVE_INFINITY));
  }

  /** Pods that have served the content on its way, and could not serve anything now. */
  get down(): readonly RolloutPod[] {
    return this.parts.filter((p) => this.#tried.has(p.uid) && !(p.view.knowledge === "fresh" && this.mayServe(p)));
  }

  /** It served, and gave up what it had: it is being swapped, or was when whoever asked for it ended. */
  #isBetween(p: RolloutPod): boolean {
    return p.view.knowledge === "fresh" && p.via === "direct" && p.hasServed && this.mayServe(p) && this.entry(p) === undefined;
  }

  /**
   * The pods that have a content on trial, or are to get it: those that have it already, and as many more as are missing. One that has got it and
   * does not serve any more has no successor before it is gone: a content that ends engines would go from pod to pod.
   *
   * @param wanted - how many there are to be
   */
  onTrial(content: Content, wanted: number): readonly RolloutPod[] {
    const has = this.parts.filter((p) => this.#has(p, content) || (this.#tried.has(p.uid) && !this.serving(p)));
    const others = this.fresh.filter((p) => !has.includes(p) && this.mayServe(p));
    const more = [...others.filter((p) => this.#isBetween(p)), ...others.filter((p) => this.serving(p))];
    return [...has, ...more.slice(0, Math.max(0, wanted - has.length))];
  }

  /**
   * The pods that are swapped now, one at a time unless more are allowed: no further one while others are in the middle of it, or may be, or have
   * not come back from it. Those that nobody is sent to come first, for they cost nothing.
   *
   * @param isWithdrawn - nobody is sent there until it has gone back: all such pods do at once
   */
  nextToSwap(goalOf: (p: RolloutPod) => Content, isWithdrawn: (p: RolloutPod) => boolean): readonly RolloutPod[] {
    const moving = this.fresh.filter((p) => this.mayServe(p) && !this.serves(p, goalOf(p)));
    const back = moving.filter((p) => this.serving(p) && !p.listed && isWithdrawn(p));
    return [
      ...back,
      ...this.#inTurn(
        moving.filter((p) => !back.includes(p)),
        goalOf,
      ),
    ];
  }

  #inTurn(open: readonly RolloutPod[], goalOf: (p: RolloutPod) => Content): readonly RolloutPod[] {
    const serving = open.filter((p) => this.serving(p));
    const atOnce = Math.max(1, Math.min(this.#maxUnavailable, this.fresh.filter((p) => this.serving(p)).length - 1));
    const begun = serving.filter((p) => this.isTold(p, goalOf(p))).slice(0, atOnce);
    if (begun.length === atOnce || this.awaited.length > 0) return begun;
    const silent = open.filter((p) => !this.serving(p));
    // It gave the old up, and has not answered with the new yet.
    const loads = (p: RolloutPod) => this.entry(p) === undefined && p.listed === false && p.call.running !== undefined;
    const between = silent.filter((p) => loads(p) || this.hasUsers(p));
    const others = serving.filter((p) => !begun.includes(p)).sort((a, b) => Number(a.listed) - Number(b.listed));
    const free = atOnce - begun.length - between.length - this.down.length;
    if (free > 0) return [...begun, ...others.slice(0, free)];
    return begun.length > 0 || between.some(loads) ? begun : others.filter((p) => !p.listed).slice(0, 1);
  }

  /** It has neither of two contents, and nobody is sent there, or by a weight: it is to get the one that is served first. */
  goesBack(p: RolloutPod, served: Content, next: Content): boolean {
    const isAside = p.onTrial || (p.hasServed && !p.listed);
    if (!isAside || !this.serving(p) || this.serves(p, served) || this.serves(p, next)) return false;
    // Where that cannot be had any more, something newer is what helps.
    return this.failure(p, served, true) === undefined;
  }

  /** Whether it was told to serve a content, and serves another one until that is in. */
  isTold(p: RolloutPod, { url, digest, isRefresh = false }: Content): boolean {
    const entry = this.entry(p);
    if (p.via === "direct" || entry?.artifactUrl !== url) return false;
    return (digest === undefined && !isRefresh) || entry.declaredDigest === digest;
  }
}

function why(of: {
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly retryable: boolean;
}): Why & { retryable: boolean } {
  const { reason, message = "", retryable } = of;
  return { reason: reason !== undefined && reason in REASONS ? (reason as Reason) : "RuntimeUnavailable", message, retryable };
}
