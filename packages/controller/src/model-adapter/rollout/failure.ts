import { isProbeTimeout, REASONS, type Reason } from "@aibrix/api";
import type { Content } from "../contents.ts";
import type { RolloutPod, Why } from "./input.ts";
import { preparedOf } from "./preparation.ts";
import type { View } from "./view.ts";

/** Pods that say something about a content: one that never served anything, and is refused it for good, has nothing to be taken from. */
export function bearing(view: View, content: Content): readonly RolloutPod[] {
  return view.fresh.filter((p) => p.hasServed || view.serving(p) || failureOf(view, p, content, true)?.retryable !== false);
}

/** What a pod says instead of taking a content. */
interface Failure extends Why {
  readonly retryable: boolean;
  /** How many tries to have it in the engine failed in a row; `undefined` where it was not to be loaded yet. */
  readonly loads?: number;
}

/** Why a pod does not get a content. */
export function failureOf(view: View, p: RolloutPod, content: Content, swapping: boolean): Failure | undefined {
  const entry = view.entry(p);
  const prepared = preparedOf(view, p, content);
  if (prepared?.state === "Failed") return why(prepared);
  const { failure } = p.call;
  if (failure?.kind === "prepare" && p.isOf(failure, content)) return failure;
  if (!swapping || view.serves(p, content)) return undefined;
  // An engine without sidecar that does not give up the old content does not take the new one either.
  const isLoad = failure?.kind === "load" || (failure?.kind === "unload" && p.via === "direct");
  if (failure !== undefined && isLoad && p.isOf(failure, content)) return { ...failure, loads: failure.attempts };
  // What a sidecar misses since it was restarted it is told again.
  if (!p.hasSecrets(content)) return undefined;
  const isIt = entry !== undefined && entry.artifactUrl === content.url && entry.message !== undefined && entry.reason !== undefined;
  const isTold = isIt && (content.digest === undefined || entry.declaredDigest === undefined || entry.declaredDigest === content.digest);
  return isTold && entry !== undefined && p.via === "sidecar"
    ? { ...why({ ...entry, retryable: entry.retryable || entry.nextRetryTime !== undefined }), loads: entry.attempts }
    : undefined;
}

/**
 * Whether a pod that has served refused a content after three tries, some seconds apart, that it may take later: each try to load it takes away what serves there, so that such
 * content is given up for what served before.
 */
export function isRefusedAgain(view: View, p: RolloutPod, { reason, message, loads = 0 }: Failure): boolean {
  // An engine that is away or does not answer has said nothing about the content; one that loads it and then does not answer by it has.
  const byEngine = reason === "EngineRefused" || reason === "ArtifactNotFound" || (reason === "ProbeFailed" && !isProbeTimeout(message));
  return byEngine && loads > 2 && view.hasUsers(p);
}

function why(of: { readonly reason: string | undefined; readonly message: string | undefined; readonly retryable: boolean }): Failure {
  const { reason, message = "", retryable } = of;
  return { reason: reason !== undefined && reason in REASONS ? (reason as Reason) : "RuntimeUnavailable", message, retryable };
}
