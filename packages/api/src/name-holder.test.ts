import { expect, test } from "vitest";
import { createdSec, holdsBefore, type NameHolder } from "./name-holder.ts";

const of = (kind: NameHolder["kind"], namespace: string, sec: number): NameHolder => ({ kind, namespace, createdSec: sec });

test.each<{ name: string; first: NameHolder; second: NameHolder }>([
  { name: "the older, whatever its namespace", first: of("adapter", "z", 1), second: of("base", "a", 2) },
  { name: "of the same second the first namespace, whatever its kind", first: of("adapter", "a", 1), second: of("base", "b", 1) },
  { name: "of one namespace and second the base model", first: of("base", "a", 1), second: of("adapter", "a", 1) },
])("a name is held by $name", ({ first, second }) => {
  expect([holdsBefore(first, second), holdsBefore(second, first)]).toEqual([true, false]);
});

test("nobody holds a name before himself", () => {
  expect(holdsBefore(of("base", "a", 1), of("base", "a", 1))).toBe(false);
});

test("an object's age is told in whole seconds; one without is the oldest", () => {
  expect(createdSec("1970-01-01T00:00:09.900Z")).toBe(9);
  expect([createdSec(undefined), createdSec("soon")]).toEqual([0, 0]);
});
