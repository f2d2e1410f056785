import type { ModelAdapterStatus } from "@aibrix/api";
import type { NewEvent } from "@aibrix/kube";
import type { PodRow } from "./types.ts";

/**
 * What to tell about the way from one status to the next. Pure.
 *
 * @param servedBefore - whether the adapter was once served on this pod: coming back is a repair
 */
export function eventsBetween(
  before: ModelAdapterStatus | undefined,
  after: ModelAdapterStatus,
  servedBefore: (pod: PodRow) => boolean,
): NewEvent[] {
  const events: NewEvent[] = [];
  const had = new Set(before?.instances ?? []);
  const added = (after.instances ?? []).filter((name) => !had.has(name));
  if (added.length > 0) {
    const note = after.conditions?.find((c) => c.type === "Scheduled")?.message ?? `allocated to ${added.join(", ")}`;
    events.push({ type: "Normal", reason: "Scheduled", action: "Schedule", note });
  }
  const old = new Map((before?.pods ?? []).map((p) => [idOf(p), p]));
  for (const pod of after.pods ?? []) {
    const event = podEvent(old.get(idOf(pod)), pod, servedBefore(pod));
    if (event !== undefined) events.push(event);
    old.delete(idOf(pod));
  }
  for (const gone of old.values()) {
    if (gone.state === "Draining")
      events.push({ type: "Normal", reason: "Unloaded", action: "Unload", note: `unloaded from pod ${gone.name}` });
  }
  return events;
}

/** A new pod of the same name is another one. */
function idOf(pod: PodRow): string {
  return pod.uid ?? pod.name;
}

function podEvent(before: PodRow | undefined, after: PodRow, served: boolean): NewEvent | undefined {
  if (after.state === "Serving" && before?.state !== "Serving") {
    const [reason, what] = served ? ["Repaired", "served again on"] : ["Loaded", "loaded on"];
    return { type: "Normal", reason, action: "Load", note: `${what} pod ${after.name}` };
  }
  const failed = after.state === "Failed" || (after.lastError !== undefined && (after.attempts ?? 0) > 0);
  if (failed && after.lastError !== undefined && after.lastError !== before?.lastError)
    return { type: "Warning", reason: "LoadFailed", action: "Load", note: `pod ${after.name}: ${after.lastError}` };
  return undefined;
}
