import type { Condition } from "./types.ts";

/** The API's bound on a condition's message, in characters. */
const MESSAGE_MAX = 32_768;

/** A condition without the time, which {@link setCondition} knows best. */
export type NewCondition = Omit<Condition, "lastTransitionTime">;

/**
 * The conditions with `next` in the place of the one of its type, or at the end. `lastTransitionTime` moves only when the status does.
 * Returns the same array where nothing changes.
 */
export function setCondition(conditions: readonly Condition[], next: NewCondition, now: Date): readonly Condition[] {
  const at = conditions.findIndex((c) => c.type === next.type);
  const old = conditions[at];
  const message = truncate(next.message, MESSAGE_MAX);
  const lastTransitionTime = old?.status === next.status ? old.lastTransitionTime : rfc3339(now);
  const condition: Condition = { ...next, message, lastTransitionTime };
  if (old === undefined) return [...conditions, condition];
  const same =
    old.status === condition.status &&
    old.reason === condition.reason &&
    old.message === condition.message &&
    old.observedGeneration === condition.observedGeneration;
  return same ? conditions : conditions.with(at, condition);
}

/** The condition of a type, if it is there. */
export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((c) => c.type === type);
}

/** Whether the condition of a type is there and True. */
export function isTrue(conditions: readonly { readonly type: string; readonly status: string }[] | undefined, type: string): boolean {
  return conditions?.some((c) => c.type === type && c.status === "True") === true;
}

/** A time as `metav1.Time`: whole seconds. What is sent finer comes back coarser, and would look like a change. */
export function rfc3339(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** A time as `metav1.MicroTime`. */
export function rfc3339Micro(time: Date): string {
  return `${time.toISOString().slice(0, 23)}000Z`;
}

/** A text of at most `max` characters, with an ellipsis where it was longer. Never cuts a character in two. */
export function truncate(text: string, max: number): string {
  if (text.length <= max) return text;
  const cut = text.slice(0, max - 1);
  const half = /[\uD800-\uDBFF]$/.test(cut);
  return `${half ? cut.slice(0, -1) : cut}…`;
}
