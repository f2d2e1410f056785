import { ANNOTATION_REFRESH } from "@aibrix/api";
import { type Canary, stepsOf } from "../canary.ts";
import type { Content, Served, Update, UpdateState } from "../contents.ts";
import { askOf, basisOf } from "./ask.ts";
import type { Asks } from "./asks.ts";
import { askedIn, isByClock, isRotation, wasAborted } from "./declared.ts";
import { ended, refused, waiting } from "./end.ts";
import { failureOf } from "./failure.ts";
import { isProof, isSame, isSameReference, looksAnew, pinnable, withSecrets } from "./identity.ts";
import type { RolloutInput, RolloutPod, Why } from "./input.ts";
import { canPrepare, isChecked, isPrepared, preparedOf } from "./preparation.ts";
import { namesSameSecrets } from "./secrets.ts";
import { found } from "./told.ts";
import { abandonment, loneliness, onTrial, PAUSED, pace, unjudged, withdrawn } from "./trial.ts";
import { goesBack } from "./turns.ts";
import type { View } from "./view.ts";

/** How far an update is, and whether a promotion led it on. */
interface Advanced {
  readonly update: Update;
  readonly promoted: boolean;
}

/** How far the update is by now. */
export function advance(i: RolloutInput, view: View, wanted: Content, served: Served, last: Update | undefined, asks: Asks): Advanced {
  const fingerprint = basisOf(i);
  const proves = isProof(wanted, served);
  // Pods that have not answered, and those that are gone for a moment, say nothing about what can be prepared.
  const isAble = view.fresh.length === 0 || view.fresh.some((p) => canPrepare(view, p, wanted));
  const isCheck = proves && !(looksAnew(wanted, served) && isAble);
  const goesOn = last !== undefined && last.state !== "Failed" && goesOnWith(last, wanted);
  const hasFailed = last?.state === "Failed" && failsStill(last, wanted, served, fingerprint, i);
  const startMs = last !== undefined && (hasFailed || goesOn) ? last.startMs : i.nowMs;
  const ask = askOf(i, fingerprint, startMs, wanted);
  const begins = !goesOn || last.state === "Preparing";
  const looks = wanted.url === served.url || (begins && wanted.refresh !== served.refresh && canLookAgain(view, wanted));
  const isRefresh = looks && !isCheck;
  const asked = { isRefresh, ask, ...(proves ? { proves } : {}), ...(isCheck ? { isCheck } : {}) };
  const stays = hasFailed && !isOver(last, asked, view);
  if (stays) return { update: { ...last, content: { ...last.content, ...asked } }, promoted: false };
  const begun = goesOn ? last : undefined;
  const { digest, revision } = isCheck ? served : (begun?.content ?? {});
  const secrets = begun?.state === "Swapping" ? (begun.content.secrets ?? wanted.secrets) : wanted.secrets;
  const content = resolved({ ...wanted, ...withSecrets(secrets), digest, revision, ...asked }, view);
  const at = (state: UpdateState, why: Why | undefined, canary?: Canary, promoted = false): Advanced => ({
    update: {
      content,
      state,
      fingerprint,
      startMs,
      reason: why?.reason,
      message: why?.message,
      byClock: isByClock(wanted, served) || isRotation(wanted, served),
      canary,
    },
    promoted,
  });
  const failed = (why: Why): Advanced => {
    const { update, promoted } = at("Failed", why, withdrawn(begun?.canary, why));
    // It ended with what the Secrets hold by now: that it is something newer than as it began asks for no other try.
    const tried = i.secretTrouble === undefined ? withSecrets(wanted.secrets) : {};
    return { update: { ...update, content: { ...update.content, ...tried } }, promoted };
  };
  const isSwapping = begun?.state === "Swapping";
  const end =
    ended(begun, view, i, asks) ??
    refused(view, content, served, isSwapping) ??
    (isSwapping ? undefined : foundAborted(i, content, served));
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
  // What has begun to be tried is not let through because all pods are gone for a moment: new ones get the old content.
  const holds = begun !== undefined && !isCheck && (steps !== undefined || view.hasChecks) && !isLost(view, served);
  if (known && !protects) return holds ? at("Preparing", waits ?? lonely) : at("Swapping", waits);
  // Where a reference leads to by now only its digest tells.
  const told = !isRefresh || content.digest !== undefined;
  // What was on trial before an edit goes first.
  const clear = !view.fresh.some((p) => goesBack(view, p, served, content));
  const prepared = view.fresh.length > 0 && view.fresh.every((p) => isPrepared(view, p, content)) && isChecked(view, content);
  const ready = known && told && clear && prepared;
  if (!ready || i.secretTrouble !== undefined) return at("Preparing", waits);
  // What it leads to may be what is served: then nothing is swapped.
  const isOther = !isCheck && (content.digest === undefined || content.digest !== served.digest);
  const held = isOther ? (lonely ?? paused) : undefined;
  return held === undefined ? swap() : at("Preparing", waits ?? held);
}

/** Whether an update goes on: with a CRD of before, the status tells nothing of secrets. */
function goesOnWith({ content, state }: Update, wanted: Content): boolean {
  if (!isSameReference(content, wanted)) return false;
  if ((content.secrets ?? wanted.secrets) === wanted.secrets) return true;
  // What is newer in the same Secrets is tried once this is through.
  return state === "Swapping" && content.isCheck !== true && namesSameSecrets(content, wanted);
}

/** Whether no pod is left that refused other secrets for what is served: those that did are gone, say, or were started anew with another key. */
function isOver({ reason, content }: Update, asked: Pick<Content, "isCheck" | "ask">, view: View): boolean {
  if (asked.isCheck !== true || reason === "UpdateAborted" || view.fresh.length === 0) return false;
  return view.fresh.every((p) => failureOf(view, p, { ...content, ...asked }, true) === undefined);
}

/**
 * Whether an update that failed is not begun again. One that was ended on account of its content, or by somebody, is only where another content or
 * another look is asked for, by the clock only after a look, and one of other secrets with others again; one that could not be had or loaded, after any edit and with other Secrets,
 * but not while these cannot be read.
 */
function failsStill(
  { reason, content, fingerprint }: Update,
  wanted: Content,
  served: Served,
  now: string,
  { adapter, secretTrouble }: RolloutInput,
): boolean {
  // Other secrets for what is served, as far as is known.
  const isTry = isSameReference(content, served) && (content.digest === undefined || content.digest === served.digest);
  if (reason === "UpdateAborted" && !(isTry && content.secrets !== wanted.secrets)) {
    // To take the annotation away asks for nothing.
    const asks = (adapter?.metadata.annotations?.[ANNOTATION_REFRESH] ?? "") !== "" && askedIn(content.refresh) !== askedIn(wanted.refresh);
    const isLook = content.refresh !== served.refresh;
    const isNext = isLook && isByClock(wanted, served) && wanted.refresh !== content.refresh;
    return String(content.url) === String(wanted.url) && !asks && !isNext;
  }
  // With a CRD of before, the status tells nothing of secrets.
  if (fingerprint === now) return isSame({ ...content, ...withSecrets(content.secrets ?? wanted.secrets) }, wanted);
  return secretTrouble !== undefined && isSame(content, wanted);
}

/** A look by the clock that leads to what was aborted before changes nothing of that. */
function foundAborted({ adapter }: RolloutInput, content: Content, served: Served): Why | undefined {
  const { url, digest } = content;
  if (!isByClock(content, served) || digest === served.digest || !wasAborted(adapter?.status?.history, url, digest)) return undefined;
  const message = `it leads to ${digest}, and the rollout of that was aborted: set the annotation ${ANNOTATION_REFRESH} to another value to begin it again`;
  return { reason: "UpdateAborted", message };
}

/** Whether no pod can be given a content any more. */
function isLost(view: View, content: Content): boolean {
  const cannot = (p: RolloutPod) => p.delivery(content).kind === "refused" || failureOf(view, p, content, true)?.retryable === false;
  return view.parts.length > 0 && view.parts.every(cannot);
}

/** Whether a pod finds out what another look at a reference leads to: what others have of it, from an update of before, is not that. */
function canLookAgain(view: View, wanted: Content): boolean {
  return pinnable(wanted.url) && view.fresh.some((p) => canPrepare(view, p, wanted) && (view.serving(p) || view.isComing(p)));
}

/** A reference is resolved once, by the first pod that has its content; every other pod gets exactly that. */
function resolved(content: Content, view: View): Content {
  if (content.digest !== undefined || !pinnable(content.url)) return content;
  for (const p of view.fresh) {
    const prepared = preparedOf(view, p, content);
    if (prepared?.state === "Ready") return { ...content, digest: prepared.contentDigest, revision: prepared.revision };
  }
  const serving = content.isRefresh === true ? undefined : view.fresh.find((p) => view.servesDeclared(p, content));
  return serving === undefined ? content : { ...content, ...found(content, serving, view) };
}
