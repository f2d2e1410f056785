import { expect, test } from "vitest";
import { ModelCounts, OTHER_MODELS } from "./model-counts.ts";

test("counts each model and result", () => {
  const counts = new ModelCounts(10);
  for (const model of ["a", "b", "a"]) counts.add(model, "routed");
  counts.add("a", "aibrix_model_not_ready");
  expect([...counts]).toEqual([
    { model: "a", result: "routed", count: 2 },
    { model: "a", result: "aibrix_model_not_ready", count: 1 },
    { model: "b", result: "routed", count: 1 },
  ]);
});

test("counts models beyond the bound together, and goes on counting the others by themselves", () => {
  const counts = new ModelCounts(2);
  for (const model of ["a", "b", "c", "d", "a"]) counts.add(model, "routed");
  expect([...counts]).toEqual([
    { model: "a", result: "routed", count: 2 },
    { model: "b", result: "routed", count: 1 },
    { model: OTHER_MODELS, result: "routed", count: 2 },
  ]);
});
