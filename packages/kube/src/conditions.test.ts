import { expect, test } from "vitest";
import { findCondition, isTrue, rfc3339, rfc3339Micro, setCondition, truncate } from "./conditions.ts";
import { controllerReference, isControlledBy } from "./owner.ts";
import { PODS } from "./resource.ts";
import type { Condition, Pod } from "./types.ts";

const T1 = new Date("2026-01-01T00:00:00.900Z");
const T2 = new Date("2026-01-02T00:00:00Z");
const ready = (more: Partial<Condition> = {}) => ({ type: "Ready", status: "True" as const, reason: "R", message: "m", ...more });
const start: readonly Condition[] = setCondition([{ ...ready({ type: "First" }), lastTransitionTime: "x" }], ready(), T1);

test("puts new ones at the end and changed ones in their place", () => {
  expect(start.map((c) => c.type)).toEqual(["First", "Ready"]);
  expect(setCondition(start, ready({ type: "First", status: "False" }), T2).map((c) => c.status)).toEqual(["False", "True"]);
});

test.each([
  { name: "the same", next: ready(), time: "2026-01-01T00:00:00Z", same: true },
  { name: "another message", next: ready({ message: "n" }), time: "2026-01-01T00:00:00Z", same: false },
  { name: "another reason", next: ready({ reason: "S" }), time: "2026-01-01T00:00:00Z", same: false },
  { name: "another generation", next: ready({ observedGeneration: 2 }), time: "2026-01-01T00:00:00Z", same: false },
  { name: "another status", next: ready({ status: "False" }), time: "2026-01-02T00:00:00Z", same: false },
])("the time moves only with the status: $name", ({ next, time, same }) => {
  const result = setCondition(start, next, T2);
  expect(findCondition(result, "Ready")?.lastTransitionTime).toBe(time);
  expect(result === start).toBe(same);
});

test("a long message is cut where the API would refuse it", () => {
  const [condition] = setCondition([], ready({ message: "x".repeat(40_000) }), T1);
  expect(condition?.message).toHaveLength(32_768);
});

test("never cuts a character in two", () => {
  expect(truncate("ab😀d", 4)).toBe("ab…");
  expect(truncate("abcd", 4)).toBe("abcd");
});

test("times are as the API writes them", () => {
  expect([rfc3339(T1), rfc3339Micro(T1)]).toEqual(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.900000Z"]);
});

test("absent conditions are not true", () => {
  expect([isTrue(undefined, "Ready"), isTrue(start, "Ready"), isTrue(start, "Other")]).toEqual([false, true, false]);
});

test("ownership goes by uid, so that a later owner of the name does not inherit", () => {
  const owner: Pod = { metadata: { name: "o", namespace: "ns", uid: "1" }, spec: { containers: [] } };
  const owned = { metadata: { name: "c", ownerReferences: [controllerReference(PODS, owner)] } };
  expect(owned.metadata.ownerReferences[0]).toMatchObject({ apiVersion: "v1", kind: "Pod", name: "o", controller: true });
  expect(isControlledBy(owned, owner)).toBe(true);
  expect(isControlledBy(owned, { metadata: { ...owner.metadata, uid: "2" } })).toBe(false);
  expect(() => controllerReference(PODS, { ...owner, metadata: { name: "o" } })).toThrow("no uid");
});
