import type { ModelAdapterStatus } from "@aibrix/api";
import type { NewEvent } from "@aibrix/kube";
import { listedIn } from "../endpoints/slices.ts";
import { nameEvents } from "../names/told.ts";
import { heldRows } from "./rows.ts";
import type { Observed, Plan, PodRow } from "./types.ts";
import { updateEvents } from "./update-status.ts";

/** What to tell about the way from one status to the next. Pure. */
export function eventsBetween(before: ModelAdapterStatus | undefined, after: ModelAdapterStatus): NewEvent[] {
  const events = [...nameEvents(before, after), ...updateEvents(before, after)];
  const had = new Set(before?.instances ?? []);
  const added = (after.instances ?? []).filter((name) => !had.has(name));
  if (added.length > 0) {
    const note = after.conditions?.find((c) => c.type === "Scheduled")?.message ?? `allocated to ${added.join(", ")}`;
    events.push({ type: "Normal", reason: "Scheduled", action: "Schedule", note });
  }
  const old = new Map(heldRows(before).map((p) => [idOf(p), p]));
  for (const pod of heldRows(after)) {
    events.push(...podEvents(old.get(idOf(pod)), pod));
    old.delete(idOf(pod));
  }
  for (const gone of old.values()) {
    if (gone.state === "Draining")
      events.push({ type: "Normal", reason: "Unloaded", action: "Unload", note: `unloaded from pod ${gone.name}` });
    else if (gone.state === "Serving") events.push(drifted("Normal", gone, "the pod is gone or ending"));
  }
  return events;
}

/**
 * What to tell of edits by others that the plan undoes: of a Service and slices that were right by what the status says. Pure.
 *
 * @param after - what was observed after the plan's writes
 */
export function repairsOf(o: Observed, p: Plan, after: Observed): NewEvent[] {
  const told = o.adapter?.status;
  if (told?.phase !== "Running" || o.unwritten !== undefined || o.adapter?.metadata.deletionTimestamp !== undefined) return [];
  const events: NewEvent[] = [];
  const repaired = (action: string, note: string) => events.push({ type: "Normal", reason: "Repaired", action, note });
  if (p.actions.some((a) => a.kind === "ensureService")) {
    if (o.service.kind === "ours") repaired("WriteService", "somebody edited the Service: put back");
    if (o.service.kind === "missing") repaired("WriteService", "somebody deleted the Service: made again");
  }
  const served = (told.pods ?? []).flatMap((row) => (row.state === "Serving" && row.uid !== undefined ? [row.uid] : []));
  const listed = listedIn(after.slices);
  // What an update changes there is nobody's edit.
  const isSettled = told.update?.state !== "Swapping" && o.rollout.update?.state !== "Swapping";
  const same = isSettled && listed.size === served.length && served.every((uid) => listed.has(uid));
  if (same && p.actions.some((a) => a.kind === "writeSlices"))
    repaired("WriteSlices", "somebody edited or deleted EndpointSlices: put back");
  return events;
}

/** A new pod of the same name is another one. */
function idOf(pod: PodRow): string {
  return pod.uid ?? pod.name;
}

function podEvents(before: PodRow | undefined, after: PodRow): NewEvent[] {
  if (after.state === "Serving" && before?.state !== "Serving") {
    // An update goes on from what serves.
    const repaired = before?.firstServedTime !== undefined && before.state !== "Updating";
    const [reason, what] = repaired ? ["Repaired", "served again on"] : ["Loaded", "loaded on"];
    return [{ type: "Normal", reason, action: "Load", note: `${what} pod ${after.name}` }];
  }
  const { lastError } = after;
  const events: NewEvent[] = [];
  const served = before?.state === "Serving" || (before?.state === "Updating" && lastError !== undefined);
  const serves = after.state === "Serving" || after.state === "Updating" || after.state === "Draining";
  if (served && !serves) events.push(drifted("Warning", after, lastError ?? "it is not there any more"));
  // Of what serves on, an error is that of an edit which did not come through.
  const failed = after.state === "Failed" || after.state === "Updating" || (after.attempts ?? 0) > 0;
  if (failed && lastError !== undefined && lastError !== before?.lastError)
    events.push({ type: "Warning", reason: "LoadFailed", action: "Load", note: `pod ${after.name}: ${lastError}` });
  return events;
}

function drifted(type: NewEvent["type"], { name }: PodRow, why: string): NewEvent {
  return { type, reason: "Drifted", action: "Observe", note: `no longer served on pod ${name}: ${why}` };
}
