import type { AdapterView } from "../../engines/agent.ts";
import type { Content, Served } from "../contents.ts";
import type { RolloutPod } from "./input.ts";
import type { View } from "./view.ts";

/** Whether a pod can fetch and check a content beside what it serves, or try the secrets of one that it serves. */
export function canPrepare(view: View, p: RolloutPod, content: Content): boolean {
  const delivery = p.delivery(content);
  if (content.isCheck === true) return delivery.kind !== "refused" && (p.via === "direct" || p.view.prepares !== false);
  return (
    p.via === "sidecar" &&
    p.view.prepares !== false &&
    (delivery.kind === "volume" || (delivery.kind === "asIs" && delivery.checked && !isInPlace(view, p, content)))
  );
}

/** A path that is served already: new files at an old path would give wrong text. */
function isInPlace(view: View, p: RolloutPod, { url }: Content): boolean {
  return view.entry(p)?.artifactUrl === url;
}

/** How far a pod is with a content that it was told to prepare; `undefined` where it was told another one, or none. */
export function preparedOf(view: View, p: RolloutPod, { url, ask, digest }: Content): NonNullable<AdapterView["prepared"]> | undefined {
  const prepared = view.entry(p)?.prepared;
  if (prepared === undefined || prepared.artifactUrl !== url || prepared.refresh !== ask) return undefined;
  return digest === undefined || prepared.contentDigest === undefined || prepared.contentDigest === digest ? prepared : undefined;
}

/** Whether a pod could be swapped to a content now, as far as fetching goes. */
export function isPrepared(view: View, p: RolloutPod, content: Content): boolean {
  // What serves nothing has nothing to be kept, and gets it by a load.
  if (!canPrepare(view, p, content) || !view.serving(p)) return true;
  if (content.proves === true) return isProven(view, p, content);
  // Once it is told, its preparation is used up.
  return view.isTold(p, content) || view.serves(p, content) || preparedOf(view, p, content)?.state === "Ready";
}

function isProven(view: View, p: RolloutPod, content: Content): boolean {
  return p.via === "direct" ? p.takesKey(content) : preparedOf(view, p, content)?.state === "Ready";
}

/** @param checks - and it is to answer the prompts there */
export function wantsPrepare(view: View, p: RolloutPod, content: Content, checks: boolean): boolean {
  if (content.proves === true)
    return (
      p.takesPart && view.serving(p) && !isProven(view, p, content) && (p.via === "direct" || preparedOf(view, p, content) === undefined)
    );
  if (!p.takesPart || !view.serving(p) || view.serves(p, content) || view.isTold(p, content)) return false;
  const prepared = preparedOf(view, p, content);
  return prepared === undefined || (checks && prepared.checks === undefined);
}

/**
 * It has something else to get next than what it serves, from an edit that was taken back, say. To be told to prepare what it serves ends that; a
 * sidecar of an earlier release has that prepared then.
 */
export function isAbandoned(view: View, p: RolloutPod, served: Served): boolean {
  const entry = view.entry(p);
  const prepared = entry?.prepared;
  if (prepared === undefined || served.digest === undefined || !p.takesPart || p.delivery(served).kind !== "volume") return false;
  if (prepared.contentDigest === served.digest || (prepared.artifactUrl === served.url && prepared.refresh === undefined)) return false;
  return entry?.artifactUrl === served.url && view.serves(p, served);
}

/** Pods on which it could answer them, now or soon. */
function checkable(view: View, content: Content): readonly RolloutPod[] {
  if (!view.hasChecks) return [];
  return view.fresh.filter((p) => canPrepare(view, p, content) && !view.serves(p, content) && (view.serving(p) || view.isComing(p)));
}

/** The pod on which it answers them for all: who has begun, else the first; `undefined` where there is nothing to answer. */
export function checkerOf(view: View, content: Content): RolloutPod | undefined {
  const able = checkable(view, content).filter((p) => view.serving(p));
  return (
    able.find((p) => preparedOf(view, p, content)?.checks !== undefined) ??
    able.find((p) => preparedOf(view, p, content) !== undefined) ??
    able[0]
  );
}

/** It has answered them, or nothing is left that it could spoil. */
export function isChecked(view: View, content: Content): boolean {
  const able = checkable(view, content);
  const hasPassed = (p: RolloutPod) =>
    preparedOf(view, p, content)?.state === "Ready" && preparedOf(view, p, content)?.checks !== undefined;
  return able.length === 0 || able.some((p) => hasPassed(p) || view.isTold(p, content));
}

/** Something serves, and no pod could have new content answer them. */
export function cannotCheck(view: View, content: Content): boolean {
  return view.hasChecks && view.fresh.some((p) => view.serving(p)) && !view.fresh.some((p) => canPrepare(view, p, content));
}

/** Who resolves a reference for all: who has begun, else the first. */
export function resolverOf(view: View, content: Content): RolloutPod | undefined {
  const able = view.fresh.filter((p) => canPrepare(view, p, content) && view.serving(p));
  return able.find((p) => preparedOf(view, p, content) !== undefined) ?? able[0];
}
