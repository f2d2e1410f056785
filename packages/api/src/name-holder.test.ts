import { expect, test } from "vitest";
import { createdSec, type NameHolder, nameHolder } from "./name-holder.ts";

const of = (kind: NameHolder["kind"], namespace: string, sec: number): NameHolder => ({ kind, namespace, createdSec: sec });

test.each<{ name: string; first: NameHolder; others: NameHolder[] }>([
  { name: "the only one", first: of("adapter", "a", 1), others: [] },
  { name: "the older, whatever its namespace", first: of("adapter", "z", 1), others: [of("base", "a", 2)] },
  { name: "of the same second the first namespace, whatever its kind", first: of("adapter", "a", 1), others: [of("base", "b", 1)] },
  { name: "of one namespace and second the base model", first: of("base", "a", 1), others: [of("adapter", "a", 1)] },
  { name: "of one namespace the base model, though the adapter is older", first: of("base", "a", 9), others: [of("adapter", "a", 1)] },
  {
    name: "an adapter that no base model of its namespace keeps from it",
    first: of("adapter", "b", 2),
    others: [of("adapter", "a", 1), of("base", "a", 9)],
  },
])("a name is held by $name", ({ first, others }) => {
  expect(nameHolder(() => [first, ...others])).toBe(first);
  expect(nameHolder(() => [...others, first])).toBe(first);
});

test("a name that nobody has nobody holds", () => {
  expect(nameHolder(() => [])).toBeUndefined();
});

test("an object's age is told in whole seconds; one without is the oldest", () => {
  expect(createdSec("1970-01-01T00:00:09.900Z")).toBe(9);
  expect([createdSec(undefined), createdSec("soon")]).toEqual([0, 0]);
});
