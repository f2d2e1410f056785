import { ANNOTATION_REFRESH, type ModelAdapterStatus } from "@aibrix/api";
import { intervalMs } from "../canary.ts";
import type { Content, Served, Update } from "../contents.ts";
import { declaredUrl } from "../declared-url.ts";
import type { ModelAdapterObject } from "../types.ts";
import { isSameReference, NOTHING, withSecrets } from "./identity.ts";
import type { Before, RolloutInput } from "./input.ts";
import { namesSameSecrets } from "./secrets.ts";

/** What is declared now. */
export function target(adapter: ModelAdapterObject, before: Before, i: RolloutInput): Content {
  const url = declaredUrl(adapter);
  const refresh = refreshOf(adapter, url, before, i.nowMs);
  return { url, refresh, ...secretsOf({ ...NOTHING, url, refresh }, before, i), digest: undefined, revision: undefined };
}

/** The secrets that are declared now. While those that are in use cannot be read nothing else is, nor was what was refused of them last any better. */
function secretsOf(
  wanted: Content,
  { served, update }: Before,
  { secretsName: secrets, secretTrouble }: RolloutInput,
): Pick<Content, "secrets"> {
  const isRefused = update?.state === "Failed" && isSameReference(update.content, wanted);
  const known = [...(isRefused ? [update.content] : []), ...(served === undefined ? [] : [served])];
  const last = known.find((c) => c.secrets !== undefined && namesSameSecrets({ secrets }, c));
  return withSecrets(secretTrouble === undefined ? secrets : (last?.secrets ?? secrets));
}

/**
 * What is served, with the secrets that it is served with: a controller of before did not write them down, and without an edit since they are
 * those that are declared.
 */
export function adopted(served: Served | undefined, { adapter, secretsName, secretTrouble }: RolloutInput): Served | undefined {
  if (served === undefined || served.secrets !== undefined || secretTrouble !== undefined) return served;
  const isEdited = adapter?.status?.observedGeneration !== adapter?.metadata.generation;
  return isEdited ? served : { ...served, ...withSecrets(secretsName) };
}

/** Whether only what is in the Secrets has changed since a content came to be served: nobody has edited anything. */
export function isRotation(content: Content, served: Served): boolean {
  return isSameReference(content, served) && content.secrets !== served.secrets && namesSameSecrets(content, served);
}

const CLOCK = "@";

/** Whether only time asks for a content: the same reference is to be looked at once more. */
export function isByClock({ url, refresh }: Content, served: Served): boolean {
  return url === served.url && refresh !== served.refresh && refresh?.includes(CLOCK) === true;
}

/** Whether a content, by its digest, was aborted when it came up last. */
export function wasAborted(history: ModelAdapterStatus["history"], url: Content["url"], digest: string | undefined): boolean {
  const last = history?.find((h) => h.artifactURL === url && h.contentDigest === digest);
  return digest !== undefined && last?.outcome === "Aborted";
}

/** What of a request for another look is the annotation's value. */
export function askedIn(refresh: string | undefined): string | undefined {
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

/** When time alone asks for the next look at the reference, in milliseconds since the epoch; `undefined` without an interval. */
export function dueMs({ spec }: ModelAdapterObject, served: Served, nowMs: number): number | undefined {
  const everyMs = intervalMs(spec.refreshInterval);
  if (everyMs === undefined) return undefined;
  const times = Math.max(0, Math.floor((nowMs - served.resolvedMs) / everyMs));
  return served.resolvedMs + (times + 1) * everyMs;
}
