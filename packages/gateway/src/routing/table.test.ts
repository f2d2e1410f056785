import { expect, test } from "vitest";
import { RoutingTable } from "./table.ts";
import type { EngineModel, EngineState } from "./types.ts";

const base: EngineModel = { id: "base", kind: "base", root: "base", createdSec: 10 };
const lora: EngineModel = { id: "lora", kind: "adapter", root: "/a", parent: "base", createdSec: 20 };
const ready = (n: number, models: EngineModel[], notReady?: string): EngineState => ({ address: `10.0.0.${n}:8000`, notReady, models });

function tableOf(...states: EngineState[]): RoutingTable {
  const table = new RoutingTable();
  for (const [i, state] of states.entries()) table.update(`e${i + 1}`, { type: "state", state });
  return table;
}

test("a model is routable on every engine that is ready and serves it", () => {
  const table = tableOf(ready(1, [base, lora]), ready(2, [base]), ready(3, [base, lora]), ready(4, [base, lora], "x"));
  expect(table.find("lora")).toEqual({ kind: "routable", addresses: ["10.0.0.1:8000", "10.0.0.3:8000"] });
  expect(table.find("nobody")).toEqual({ kind: "unknown" });
});

test.each([
  { name: "does not serve it", state: ready(1, [{ ...lora, notServing: "it is Loading" }]), want: "it is Loading" },
  { name: "is not ready", state: ready(1, [lora], "its engine is not ready"), want: "its engine is not ready" },
  { name: "has no address", state: { ...ready(1, [lora]), address: undefined }, want: "its engine's address is not known yet" },
])("a model whose only engine $name is known, with the reason", ({ state, want }) => {
  expect(tableOf(state).find("lora")).toEqual({ kind: "notReady", why: want });
  expect(tableOf(state).cards()).toEqual([]);
});

test("tells whether a content is on trial, of any model or of one", () => {
  const table = tableOf(ready(1, [base, { ...lora, namespace: "a" }]), ready(2, [{ ...lora, namespace: "a", canaryWeight: 5 }]));
  const told = () => [table.hasTrials(), table.isOnTrial("lora", "a"), table.isOnTrial("lora", "b"), table.isOnTrial("base")];
  expect(table.find("lora")).toMatchObject({ canary: { addresses: ["10.0.0.2:8000"], weight: 5, namespace: "a" } });
  expect(told()).toEqual([true, true, false, false]);
  table.update("e2", { type: "model", model: { ...lora, namespace: "a" } });
  expect(told()).toEqual([false, false, false, false]);
  table.update("e2", { type: "model", model: { ...lora, namespace: "a", canaryWeight: 0 } });
  expect(told()).toEqual([true, true, false, false]);
  table.update("e2", { type: "state", state: ready(2, [base]) });
  expect(told()).toEqual([false, false, false, false]);
  table.update("e1", { type: "model", model: { ...lora, canaryWeight: 1 } });
  table.remove("e1");
  expect(told()).toEqual([false, false, false, false]);
});

test("where only a content on trial is left, it gets all, and is on trial still", () => {
  const table = tableOf(ready(1, [base, { ...lora, namespace: "a" }]), ready(2, [{ ...lora, namespace: "a", canaryWeight: 5 }]));
  const left = { kind: "routable", addresses: [], canary: { addresses: ["10.0.0.2:8000"], weight: 5, namespace: "a" } };
  table.update("e1", { type: "notReady", why: "gone" });
  expect(table.find("lora")).toEqual(left);
  table.remove("e1");
  expect(table.find("lora")).toEqual(left);
});

test("single changes are seen at once", () => {
  const table = tableOf(ready(1, [base]));
  table.update("e1", { type: "model", model: lora });
  expect(table.find("lora").kind).toBe("routable");
  table.update("e1", { type: "notReady", why: "gone" });
  expect(table.find("lora")).toEqual({ kind: "notReady", why: "gone" });
  table.update("e1", { type: "state", state: ready(1, [base]) });
  expect(table.find("lora").kind).toBe("unknown");
  table.update("e1", { type: "model", model: lora });
  table.update("e1", { type: "withdrawn", id: "lora" });
  expect(table.find("lora").kind).toBe("unknown");
  table.remove("e1");
  expect(table.find("base").kind).toBe("unknown");
  expect(table.counts()).toEqual({ engines: 0, ready: 0, models: 0 });
});

test("an adapter's change before its engine's state makes nothing routable", () => {
  const table = new RoutingTable();
  table.update("e1", { type: "model", model: lora });
  expect(table.find("lora").kind).toBe("notReady");
});

test("cards show base models first, each once, with the oldest time", () => {
  const table = tableOf(
    ready(1, [
      { ...lora, id: "a-lora" },
      { ...base, createdSec: 30 },
    ]),
    ready(2, [base, lora]),
  );
  expect(table.cards().map((c) => [c.id, c.createdSec])).toEqual([
    ["base", 10],
    ["a-lora", 20],
    ["lora", 20],
  ]);
  expect(table.card("lora")?.parent).toBe("base");
});

test("every change is announced until the listener leaves", () => {
  const table = new RoutingTable();
  let calls = 0;
  const stop = table.onChange(() => {
    calls += 1;
    if (calls === 2) stop();
  });
  for (let i = 0; i < 4; i++) table.update("e1", { type: "notReady", why: "x" });
  expect(calls).toBe(2);
});
