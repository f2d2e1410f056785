import { ANNOTATION_PROMOTE, ANNOTATION_REFRESH, FILES_REVISION, type ModelAdapterStatus } from "@aibrix/api";
import type { NewCondition, NewEvent } from "@aibrix/kube";
import { truncate } from "@aibrix/kube";
import { type Canary, dueMs, stepsOf } from "./canary.ts";
import type { Rollout, Served, Update } from "./contents.ts";
import { askedIn, wasAborted } from "./rollout/declared.ts";
import { withSecrets } from "./rollout/identity.ts";
import { namesSameSecrets } from "./rollout/secrets.ts";
import type { ModelAdapterObject, Observed } from "./types.ts";

/** Contents that the status tells of. */
const HISTORY = 3;
const MAX_MESSAGE = 2_000;

type Content = Pick<
  ModelAdapterStatus,
  "contentDigest" | "resolvedRevision" | "served" | "update" | "history" | "lastHandledPromote" | "lastHandledAbort"
>;
type Entry = NonNullable<ModelAdapterStatus["history"]>[number];

/**
 * What the status says of contents: the one that is decided on, the one on its way, and those before. Pure.
 *
 * @param digest - of what is served, where the content is not told apart by its digest
 */
export function contentStatus(o: Observed, adapter: ModelAdapterObject, digest: string | undefined): Content {
  const before = adapter.status ?? {};
  // What could not be written may still send clients to older content: no update is through before it is.
  if (o.unwritten !== undefined) return { ...kept(before), ...endStatus(o, adapter) };
  const { served, update, handled } = o.rollout;
  if (served === undefined) return { ...kept(before), ...handledStatus(handled) };
  const { revision } = served;
  const last = before.served?.artifactURL === served.url ? before.contentDigest : undefined;
  const shown = served.digest ?? digest ?? last;
  const now = update === undefined ? undefined : updateStatus(update, adapter);
  const history = historyOf(before, served, update, now, o.nowMs);
  return {
    ...(shown === undefined ? {} : { contentDigest: shown }),
    ...(revision === undefined ? {} : { resolvedRevision: revision }),
    served: {
      artifactURL: served.url,
      ...refreshOf(served),
      ...withSecrets(served.secrets),
      resolvedTime: new Date(served.resolvedMs).toISOString(),
    },
    ...(now === undefined ? {} : { update: now }),
    ...(history.length === 0 ? {} : { history }),
    ...handledStatus(handled),
  };
}

/** Whether an update ends without its content having come to be served, and the status does not say so yet. Pure. */
export function endsNow({ update }: Rollout, adapter: ModelAdapterObject): boolean {
  return update?.state === "Failed" && !isSameEnd(adapter.status?.update, updateStatus(update, adapter));
}

/** Whether a failure was told already: of the same content, asked for in the same way. That only the clock asked again is nothing to tell. */
function isSameEnd(before: ModelAdapterStatus["update"], after: ModelAdapterStatus["update"]): boolean {
  return (
    before?.state === "Failed" &&
    before.fingerprint === after?.fingerprint &&
    (before.secrets === undefined || before.secrets === after.secrets) &&
    before.artifactURL === after.artifactURL &&
    askedIn(before.refresh) === askedIn(after.refresh)
  );
}

/** Whether only the clock asked, and has led to what was aborted before: of that nothing is told once more. */
function isFoundAgain(before: ModelAdapterStatus | undefined, after: ModelAdapterStatus["update"]): boolean {
  if (after?.state !== "Failed" || after.reason !== "UpdateAborted" || before?.update?.state === "Swapping") return false;
  // An edit of the artifactURL carries the mark of the last look on.
  const isByClock =
    after.artifactURL === before?.served?.artifactURL && after.refresh !== undefined && after.refresh !== askedIn(after.refresh);
  return isByClock && wasAborted(before?.history, after.artifactURL, after.contentDigest);
}

/** What the status says of that, whatever else may be told. */
function endStatus({ rollout, nowMs }: Observed, adapter: ModelAdapterObject): Partial<Content> {
  const { served, update, handled } = rollout;
  if (served === undefined || update === undefined || !endsNow(rollout, adapter)) return {};
  const now = updateStatus(update, adapter);
  const history = historyOf(adapter.status ?? {}, served, update, now, nowMs);
  return { update: now, ...(history.length === 0 ? {} : { history }), ...handledStatus(handled) };
}

function handledStatus({ promote, abort }: Rollout["handled"]): Pick<Content, "lastHandledPromote" | "lastHandledAbort"> {
  return {
    ...(promote === undefined ? {} : { lastHandledPromote: promote }),
    ...(abort === undefined ? {} : { lastHandledAbort: abort }),
  };
}

function kept(before: ModelAdapterStatus): Content {
  const { contentDigest, resolvedRevision, served, update, history, lastHandledPromote: promote, lastHandledAbort: abort } = before;
  return {
    ...(contentDigest === undefined ? {} : { contentDigest }),
    ...(resolvedRevision === undefined ? {} : { resolvedRevision }),
    ...(served === undefined ? {} : { served }),
    ...(update === undefined ? {} : { update }),
    ...(history === undefined ? {} : { history }),
    ...handledStatus({ promote, abort }),
  };
}

function refreshOf({ refresh }: { readonly refresh: string | undefined }): { refresh?: string } {
  return refresh === undefined ? {} : { refresh };
}

function updateStatus(
  { content, state, fingerprint, startMs, reason, message, canary }: Update,
  { spec }: ModelAdapterObject,
): NonNullable<ModelAdapterStatus["update"]> {
  return {
    artifactURL: typeof content.url === "string" ? content.url : spec.artifactURL,
    ...refreshOf(content),
    ...withSecrets(content.secrets),
    fingerprint,
    state,
    ...(content.digest === undefined ? {} : { contentDigest: content.digest }),
    ...(content.revision === undefined ? {} : { resolvedRevision: content.revision }),
    startTime: new Date(startMs).toISOString(),
    ...(canary === undefined ? {} : { step: canary.step, weight: canary.weight }),
    ...(canary?.sinceMs === undefined ? {} : { stepTime: new Date(canary.sinceMs).toISOString() }),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message: truncate(message, MAX_MESSAGE) }),
  };
}

/** With what is new in it. What has come to the same as the time before, of the same content, takes that one's place. */
function historyOf(
  before: ModelAdapterStatus,
  served: Served,
  update: Update | undefined,
  now: ModelAdapterStatus["update"],
  nowMs: number,
): Entry[] {
  const added = entries(before, served, update, now, nowMs);
  const known = before.history ?? [];
  const [last] = known;
  const repeats = (e: Entry) => e.artifactURL === last?.artifactURL && e.contentDigest === last.contentDigest && e.outcome === last.outcome;
  return [...added, ...(added.some(repeats) ? known.slice(1) : known)].slice(0, HISTORY);
}

/** What is new in the history. */
function entries(
  before: ModelAdapterStatus,
  served: Served,
  update: Update | undefined,
  now: ModelAdapterStatus["update"],
  nowMs: number,
): Entry[] {
  const time = new Date(nowMs).toISOString();
  const entry = (url: string, of: Pick<Served, "digest" | "revision">, outcome: Entry["outcome"]): Entry => ({
    artifactURL: url,
    ...(of.digest === undefined ? {} : { contentDigest: of.digest }),
    ...(of.revision === undefined ? {} : { resolvedRevision: of.revision }),
    time,
    outcome,
  });
  const isNew = !isSameEnd(before.update, now) && !isFoundAgain(before, now);
  // Other secrets for what is served are no content.
  if (update?.state === "Failed" && update.content.isCheck === true) return [];
  if (update?.state === "Failed" && isNew && typeof update.content.url === "string")
    return [entry(update.content.url, update.content, update.reason === "UpdateAborted" ? "Aborted" : "Failed")];
  const last = before.served;
  const same =
    last !== undefined && last.artifactURL === served.url && (served.digest === undefined || before.contentDigest === served.digest);
  return same ? [] : [entry(served.url, served, "Served")];
}

interface Told {
  readonly update?: { readonly secrets?: string | undefined } | undefined;
  readonly observedGeneration?: number | undefined;
  readonly contentDigest?: string | undefined;
  readonly served?:
    | { readonly artifactURL: string; readonly refresh?: string | undefined; readonly secrets?: string | undefined }
    | undefined;
}

/**
 * Whether somebody asked for what is served now, or it is something else; that the clock asked, and found the same, is nothing to tell, nor that
 * secrets which a controller of before did not write down are written down now: without an edit since they are those of before.
 */
function changes(before: Told, after: Told): boolean {
  const wasTried = before.update?.secrets !== undefined && before.update.secrets === after.served?.secrets;
  const isAdopted = before.served?.secrets === undefined && !wasTried && before.observedGeneration === after.observedGeneration;
  const asked = ({ served }: Told) => served?.refresh?.split("@")[0] ?? "";
  return (
    before.served?.artifactURL !== after.served?.artifactURL ||
    before.contentDigest !== after.contentDigest ||
    asked(before) !== asked(after) ||
    (!isAdopted && !namesSameSecrets(before.served ?? {}, after.served ?? {}))
  );
}

/**
 * Whether the content that is declared is the one that is served; nothing before there was another one. Pure. It speaks of the generation that
 * is declared: a wait for False is not to wait for that to be served.
 */
export function updatedCondition({ rollout, unwritten, httpRoutes }: Observed, adapter: ModelAdapterObject): NewCondition | undefined {
  const { metadata, status } = adapter;
  const known = status?.conditions?.find((c) => c.type === UPDATED);
  const { lastTransitionTime: _, ...last } = known ?? { type: "", lastTransitionTime: "" };
  const before = "status" in last ? last : undefined;
  // An end is told whatever could not be written, as `update` tells it.
  if (unwritten !== undefined && rollout.update?.state !== "Failed") return before;
  const next = updatedNow(rollout, adapter, before, httpRoutes === true);
  return next === undefined
    ? undefined
    : { ...next, ...(metadata.generation === undefined ? {} : { observedGeneration: metadata.generation }) };
}

const UPDATED = "Updated";
const NO_POD = "no pod serves the adapter now";

/** What becomes of the content that was served before. */
function keeps(what: string, isAnywhere: boolean): string {
  return isAnywhere ? `${what} goes on being served` : `${what} is kept, though ${NO_POD}`;
}

function updatedNow(
  { served, update, isEverywhere, isAnywhere }: Rollout,
  { metadata, spec, status }: ModelAdapterObject,
  last: NewCondition | undefined,
  httpRoutes: boolean,
): NewCondition | undefined {
  const type = UPDATED;
  if (served === undefined) return undefined;
  if (update === undefined) {
    const now = { artifactURL: served.url, refresh: served.refresh, secrets: served.secrets };
    const after = { observedGeneration: metadata.generation, contentDigest: served.digest ?? status?.contentDigest, served: now };
    const isOther = status?.served !== undefined && changes(status, after);
    const isOver = last !== undefined && last.status !== "True";
    if ((isOther || isOver) && !isAnywhere)
      return { type, status: "Unknown", reason: "UpdateRolling", message: `${named(served)} is decided on, and ${NO_POD}` };
    if ((isOther || isOver) && !isEverywhere)
      return { type, status: "Unknown", reason: "UpdateRolling", message: `${named(served)} is put back, pod after pod` };
    return isOther || isOver ? { type, status: "True", reason: "Updated", message: `${named(served)} is served, and nothing older` } : last;
  }
  const { state, reason, message, content, canary } = update;
  const why = message === undefined ? "" : `: ${truncate(message, MAX_MESSAGE)}`;
  if (state === "Failed") {
    const cannot = content.proves === true ? "it cannot be had or loaded with what is declared now" : "the new content cannot be";
    const end = reason === "UpdateAborted" ? "the rollout of the new content was aborted" : cannot;
    const kept = `${keeps(named(served), isAnywhere)}, for ${end}${why}${reason === "CheckFailed" ? CHECK_REMEDY : ""}`;
    return { type, status: "False", reason: reason ?? "ArtifactInvalid", message: kept };
  }
  // By the clock alone nothing is said before there is something else to be served.
  if (update.byClock && (content.digest === undefined || content.digest === served.digest)) return last;
  const isServed = isAnywhere ? `${named(served)} is served` : keeps(named(served), false);
  if (reason === "UpdatePaused") {
    const paused = `${isServed}${state === "Preparing" ? "" : `, and ${named(content)} by some pods`}${why}`;
    return { type, status: "Unknown", reason, message: paused };
  }
  if (state === "Preparing" && reason === "CanaryNeedsPods")
    return { type, status: "False", reason, message: `${keeps(named(served), isAnywhere)}, and the new content waits${why}` };
  if (canary !== undefined && canary.weight < 100) {
    const message = `${named(content)} gets ${canary.weight} of a hundred requests, ${stepText(canary, spec)}; ${named(served)} gets the others${httpRoutes ? BY_ROUTES : ""}${why}`;
    return { type, status: "Unknown", reason: "UpdateOnTrial", message };
  }
  // Somebody has to make or allow it.
  if (state === "Preparing" && (reason === "SecretNotFound" || reason === "SecretForbidden"))
    return { type, status: "False", reason, message: `${keeps(named(served), isAnywhere)}, and what is declared now waits${why}` };
  if (state === "Preparing" && content.isCheck === true) {
    const message = `credentials and API key that are declared now are tried, and ${isServed}${why}`;
    return { type, status: "Unknown", reason: "UpdatePreparing", message };
  }
  if (state === "Preparing") {
    const preparing = `the new content is fetched and checked, and ${isServed}${why}`;
    return { type, status: "Unknown", reason: "UpdatePreparing", message: preparing };
  }
  const how = isAnywhere ? "pod after pod" : NO_POD;
  const rolling = `${named(content)} takes the place of ${named(served)}, ${how}${why}`;
  return { type, status: "Unknown", reason: "UpdateRolling", message: rolling };
}

const CHECK_REMEDY = "; declare other content, or change the check in spec.rollout.checks";

const BY_ROUTES = "; clients that come by an HTTPRoute, past the gateway plugin, get it by its part of the pods";

/** Which step it is, and how it ends. */
function stepText(canary: Canary, { rollout }: ModelAdapterObject["spec"]): string {
  const steps = stepsOf(rollout) ?? [];
  const untilMs = dueMs(steps, canary);
  const end =
    canary.sinceMs === undefined
      ? "once its pods serve it"
      : untilMs === undefined
        ? `until it is promoted by the annotation ${ANNOTATION_PROMOTE}`
        : `until ${new Date(untilMs).toISOString()}`;
  // The last one, with all requests, need not be declared.
  const declared = Math.min(steps.length, rollout?.canary?.steps.length ?? steps.length);
  return `step ${canary.step} of ${declared}, ${end}`;
}

function named({ url, digest, revision }: (Rollout["served"] & object) | Update["content"]): string {
  // Hashes of a bucket's versions tell nobody more than the digest does.
  const commit = revision === undefined || revision.startsWith(FILES_REVISION) ? undefined : `commit ${revision}`;
  const what = [commit, digest].filter((x) => x !== undefined);
  return `${url instanceof Error ? "it" : url}${what.length === 0 ? "" : ` (${what.join(", ")})`}`;
}

/** What to tell of contents between two statuses. Pure. */
export function updateEvents(before: ModelAdapterStatus | undefined, after: ModelAdapterStatus): NewEvent[] {
  if (isFoundAgain(before, after.update)) return [];
  if (after.update?.state === "Failed" && !isSameEnd(before?.update, after.update)) {
    const note = `${after.update.message ?? after.update.reason}; ${keeps("what was served before", after.readyReplicas !== 0)}`;
    const reason = after.update.reason === "UpdateAborted" ? "UpdateAborted" : "UpdateFailed";
    return [{ type: "Warning", reason, action: "Update", note: truncate(note, 1_000) }];
  }
  const { step, weight } = after.update ?? {};
  if (step !== undefined && (before?.update?.step !== step || before.update.weight !== weight)) {
    const note = `step ${step}: ${after.update?.artifactURL} gets ${weight} of a hundred requests`;
    return [{ type: "Normal", reason: "UpdateOnTrial", action: "Update", note: truncate(note, 1_000) }];
  }
  if (before?.served === undefined || after.served === undefined || after.update !== undefined) return [];
  if (!changes(before, after)) return [];
  const sameUrl = before.served.artifactURL === after.served.artifactURL;
  const digest = after.contentDigest === undefined ? "" : ` (${after.contentDigest})`;
  const same = before.contentDigest !== undefined && before.contentDigest === after.contentDigest;
  const isSecrets = same && sameUrl && before.served.refresh === after.served.refresh;
  if (isSecrets)
    return [
      {
        type: "Normal",
        reason: "Updated",
        action: "Update",
        note: `${after.served.artifactURL} is served with other credentials or another API key`,
      },
    ];
  const note = same
    ? `${after.served.artifactURL} leads to the content that was served before${digest}${sameUrl ? `: looked at again for the annotation ${ANNOTATION_REFRESH}` : ""}`
    : `${after.served.artifactURL}${digest} is served by every pod, in place of ${before.served.artifactURL}`;
  return [{ type: "Normal", reason: "Updated", action: "Update", note }];
}
