import { REASONS, type Reason } from "@aibrix/api";
import type { Content } from "../contents.ts";
import type { RolloutPod, Why } from "./input.ts";
import { preparedOf } from "./preparation.ts";
import type { View } from "./view.ts";

/** Pods that say something about a content: one that never served anything, and is refused it for good, has nothing to be taken from. */
export function bearing(view: View, content: Content): readonly RolloutPod[] {
  return view.fresh.filter((p) => p.hasServed || view.serving(p) || failureOf(view, p, content, true)?.retryable !== false);
}

/** Why a pod does not get a content. */
export function failureOf(
  view: View,
  p: RolloutPod,
  content: Content,
  swapping: boolean,
): (Why & { readonly retryable: boolean }) | undefined {
  const entry = view.entry(p);
  const prepared = preparedOf(view, p, content);
  if (prepared?.state === "Failed") return why(prepared);
  const { failure } = p.call;
  if (failure?.kind === "prepare" && p.isOf(failure, content)) return failure;
  if (!swapping || view.serves(p, content)) return undefined;
  if (failure?.kind === "load" && p.isOf(failure, content)) return failure;
  // What a sidecar misses since it was restarted it is told again.
  if (!p.hasSecrets(content)) return undefined;
  const isIt = entry !== undefined && entry.artifactUrl === content.url && entry.message !== undefined && entry.reason !== undefined;
  const isTold = isIt && (content.digest === undefined || entry.declaredDigest === undefined || entry.declaredDigest === content.digest);
  return isTold && entry !== undefined && p.via === "sidecar"
    ? why({ ...entry, retryable: entry.retryable || entry.nextRetryTime !== undefined })
    : undefined;
}

function why(of: {
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly retryable: boolean;
}): Why & { retryable: boolean } {
  const { reason, message = "", retryable } = of;
  return { reason: reason !== undefined && reason in REASONS ? (reason as Reason) : "RuntimeUnavailable", message, retryable };
}
