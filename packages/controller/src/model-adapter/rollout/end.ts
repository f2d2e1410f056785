import { ANNOTATION_ABORT, ArtifactUrlError } from "@aibrix/api";
import { follow, stepsOf, unhealthy } from "../canary.ts";
import type { Content, Served, Update } from "../contents.ts";
import type { Asks } from "./asks.ts";
import { bearing, failureOf, isRefusedAgain } from "./failure.ts";
import { withSecrets } from "./identity.ts";
import type { Before, RolloutInput, RolloutPod, Why } from "./input.ts";
import { cannotCheck, canPrepare } from "./preparation.ts";
import { found } from "./told.ts";
import { healthOf, pace } from "./trial.ts";
import type { View } from "./view.ts";

/** An update that is through is so, whatever is declared since; but not where the same turn ends it. */
export function afterCompletion(before: Before, view: View, i: RolloutInput, asks: Asks): { readonly before: Before } | undefined {
  const { served, update } = before;
  if (served === undefined) return undefined;
  const ends = update === undefined || ended(update, view, i, asks) !== undefined;
  const done = ends ? undefined : completed(update, update, view, i, asks, served);
  return { before: done === undefined ? before : { served: done, update: undefined } };
}

/** Why an update that goes on ends: by somebody's word, or by what its content did to requests and engines; `undefined` where it does not. */
export function ended(update: Update | undefined, view: View, i: RolloutInput, asks: Asks): Why | undefined {
  const reason = "UpdateAborted";
  if (asks.abort !== undefined) return { reason, message: `the annotation ${ANNOTATION_ABORT} was set to "${asks.abort.slice(0, 100)}"` };
  const restarted = update?.state === "Swapping" ? view.restarted(update.canary !== undefined) : undefined;
  if (restarted !== undefined) {
    const message = `the engine of pod ${restarted.name} was started anew after it was given the new content: look into the log of its run before`;
    return { reason, message };
  }
  const ill = unhealthy(i.adapter?.spec.rollout?.canary?.abortOn, healthOf(i, update));
  return ill === undefined ? undefined : { reason, message: ill };
}

/** Why the new content is not going to be served. */
export function refused(view: View, content: Content, served: Served, swapping: boolean): Why | undefined {
  if (content.url instanceof ArtifactUrlError) return { reason: "InvalidArtifactURL", message: content.url.message };
  const isRefresh = content.url === served.url;
  for (const p of bearing(view, content)) {
    const delivery = p.delivery(content);
    if (delivery.kind === "refused") return { reason: delivery.reason, message: delivery.message };
    if (isRefresh && !canPrepare(view, p, content))
      return { reason: "RefreshUnsupported", message: `pod ${p.name}: ${whyNoRefresh(p, content.url)}` };
    const why = failureOf(view, p, content, swapping);
    if (why !== undefined && (!why.retryable || isRefusedAgain(view, p, why)))
      // What is retryable is not tried any more from here on.
      return { reason: why.reason, message: `pod ${p.name}: ${why.message.replace("; it is tried again", "")}` };
  }
  if (!swapping && cannotCheck(view, content))
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
export function waiting(view: View, content: Content): Why | undefined {
  const [down] = view.down;
  for (const p of view.fresh) {
    const why = p === down ? undefined : failureOf(view, p, content, true);
    if (why !== undefined) return { reason: why.reason, message: `pod ${p.name}: ${why.message}` };
  }
  const [silent] = view.awaited.filter((p) => p !== down);
  if (silent !== undefined)
    return { reason: "RuntimeUnavailable", message: `pod ${silent.name} has not answered yet which content it serves` };
  if (down === undefined) return undefined;
  const why = failureOf(view, down, content, true)?.message ?? down.view.engineMessage;
  const message = `pod ${down.name} was given the new content and does not serve now${why === undefined ? "" : ` (${why})`}: no other pod takes its place, nor its turn, as long as it is there`;
  return { reason: "EngineUnavailable", message };
}

/**
 * The content that an update has brought to every pod that clients may be sent to; `undefined` while one lacks it. A canary is through only where the
 * status has told already that every pod gets it.
 */
export function completed(
  update: Update,
  said: Update | undefined,
  view: View,
  i: RolloutInput,
  asks: Asks,
  served: Served,
): Served | undefined {
  const { content, canary } = update;
  if (update.state !== "Swapping" || content.url instanceof ArtifactUrlError) return undefined;
  const first = view.firstOfAll(content);
  if (first === undefined) return undefined;
  const steps = stepsOf(i.adapter?.spec.rollout);
  if (canary !== undefined && steps !== undefined) {
    if (said?.canary?.weight !== 100) return undefined;
    if (!follow(steps, canary, view.share(content), pace(i, asks, update)).done) return undefined;
  }
  const { url, refresh, secrets, isCheck } = content;
  const resolvedMs = isCheck === true ? served.resolvedMs : i.nowMs;
  return { url, refresh, ...withSecrets(secrets), ...found(content, first, view), resolvedMs };
}
