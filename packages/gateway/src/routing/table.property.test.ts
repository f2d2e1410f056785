import fc from "fast-check";
import { expect, test } from "vitest";
import { RoutingTable } from "./table.ts";
import type { EngineModel } from "./types.ts";

type Change = (table: RoutingTable) => void;

// Few values, so that names and engines meet often.
const ids = fc.constantFrom("x", "y");
const engines = fc.constantFrom("e1", "e2");
const addresses = fc.constantFrom("10.0.0.1:8000", "10.0.0.2:8000", undefined);
const reasons = fc.constantFrom("it is away", undefined);

const models: fc.Arbitrary<EngineModel> = fc
  .record({
    id: ids,
    kind: fc.constantFrom("base" as const, "adapter" as const),
    createdSec: fc.integer({ min: 1, max: 3 }),
    namespace: fc.constantFrom("a", "b", undefined),
    notServing: reasons,
  })
  .map(({ namespace, notServing, ...model }) => ({
    ...model,
    root: model.id,
    ...(namespace === undefined ? {} : { namespace }),
    ...(notServing === undefined ? {} : { notServing }),
  }));

const changes: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(engines, addresses, reasons, fc.uniqueArray(models, { maxLength: 2, selector: ({ id }) => id })).map(
    ([key, address, notReady, list]): Change =>
      (t) =>
        t.update(key, { type: "state", state: { address, notReady, models: list } }),
  ),
  fc.tuple(engines, models).map(
    ([key, model]): Change =>
      (t) =>
        t.update(key, { type: "model", model }),
  ),
  fc.tuple(engines, ids).map(
    ([key, id]): Change =>
      (t) =>
        t.update(key, { type: "withdrawn", id }),
  ),
  engines.map(
    (key): Change =>
      (t) =>
        t.update(key, { type: "notReady", why: "it is away" }),
  ),
  fc.tuple(engines, addresses, reasons).map(
    ([key, address, notReady]): Change =>
      (t) =>
        t.update(key, { type: "engine", address, notReady }),
  ),
  engines.map(
    (key): Change =>
      (t) =>
        t.remove(key),
  ),
  fc.tuple(fc.constantFrom("d1", "d2"), models).map(
    ([key, model]): Change =>
      (t) =>
        t.declare(key, model),
  ),
  fc.constantFrom("d1", "d2").map(
    (key): Change =>
      (t) =>
        t.retract(key),
  ),
);

test("what was found before never shows after a change", () => {
  fc.assert(
    fc.property(fc.array(changes, { minLength: 1, maxLength: 15 }), (sequence) => {
      const asked = new RoutingTable();
      const never = new RoutingTable();
      for (const change of sequence) {
        change(asked);
        change(never);
        for (const id of ["x", "y"]) for (const namespace of [undefined, "a", "b", "c"]) asked.find(id, namespace);
      }
      for (const id of ["x", "y"])
        for (const namespace of [undefined, "a", "b", "c"]) expect(asked.find(id, namespace)).toEqual(never.find(id, namespace));
    }),
    { numRuns: 2_000 },
  );
});
