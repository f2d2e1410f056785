import { ArtifactUrlError, REASONS, type Reason } from "@aibrix/api";
import type { Content, Served } from "../contents.ts";
import type { ModelAdapterObject } from "../types.ts";
import { isByClock, isRotation } from "./declared.ts";
import { isProof, looksAnew, pinnable, urlOfRoot, withSecrets } from "./identity.ts";
import type { Before, RolloutPod } from "./input.ts";
import type { View } from "./view.ts";

/** What the status says. A time that is still to come is from a clock that was set back since: nothing waits for that. */
export function told({ status }: ModelAdapterObject, nowMs: number): Before {
  const past = (time: string) => Math.min(Date.parse(time), nowMs);
  if (status?.served === undefined) return { served: undefined, update: undefined };
  const { artifactURL, refresh, secrets, resolvedTime } = status.served;
  const digest = pinnable(artifactURL) ? status.contentDigest : undefined;
  const { resolvedRevision: revision } = status;
  const served = { url: artifactURL, refresh, ...withSecrets(secrets), digest, revision, resolvedMs: past(resolvedTime) };
  const u = status.update;
  if (u === undefined) return { served, update: undefined };
  const reason = u.reason !== undefined && u.reason in REASONS ? (u.reason as Reason) : undefined;
  const url = reason === "InvalidArtifactURL" ? new ArtifactUrlError(u.message ?? "") : u.artifactURL;
  const isRefresh = url === artifactURL;
  const asked = { url, refresh: u.refresh, ...withSecrets(u.secrets), digest: u.contentDigest, revision: u.resolvedRevision };
  const isCheck = isProof(asked, served) && !looksAnew(asked, served);
  const content = { ...asked, isRefresh: isRefresh && !isCheck, ...(isCheck ? { isCheck } : {}) };
  const { state, fingerprint, message } = u;
  const byClock = isByClock(content, served) || isRotation(content, served);
  const sinceMs = u.stepTime === undefined ? undefined : past(u.stepTime);
  const canary = u.step === undefined ? undefined : { step: u.step, weight: u.weight ?? 0, sinceMs };
  return { served, update: { content, state, fingerprint, startMs: Date.parse(u.startTime), reason, message, byClock, canary } };
}

/**
 * What a controller of before, which wrote down less, has had served: something else than is declared now. A sidecar that was told already what
 * is declared now does not say where its content came from.
 */
export function derived({ status, metadata }: ModelAdapterObject, view: View, nowMs: number): Before {
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

/** The first content that is served is decided on, by most pods: those that have another one, of a reference that moved meanwhile, get this. */
export function established(wanted: Content, view: View, nowMs: number): Served | undefined {
  if (wanted.url instanceof ArtifactUrlError) return undefined;
  const serving = view.pods.filter((p) => view.servesDeclared(p, wanted));
  const listed = serving.filter((p) => p.listed);
  const pod = view.mostAlike(listed.length > 0 ? listed : serving);
  if (pod === undefined) return undefined;
  return { ...wanted, url: wanted.url, ...found(wanted, pod, view), resolvedMs: nowMs };
}

/** Digest and revision of what a pod serves, where the content is told apart by them. */
export function found({ url, digest, revision }: Content, pod: RolloutPod, view: View): Pick<Content, "digest" | "revision"> {
  const entry = view.entry(pod);
  return { digest: digest ?? (pinnable(url) ? entry?.contentDigest : undefined), revision: revision ?? entry?.revision };
}
