import { expect, test } from "vitest";
import { OTHER_MODELS, PairCounts } from "./pair-counts.ts";

test("counts each model and result", () => {
  const counts = new PairCounts();
  for (const model of ["a", "b", "a"]) counts.add(model, "routed");
  counts.add("a", "aibrix_model_not_ready");
  expect([...counts]).toEqual([
    ["a", "routed", 2],
    ["a", "aibrix_model_not_ready", 1],
    ["b", "routed", 1],
  ]);
});

test("counts models beyond the bound together, and goes on counting the others by themselves", () => {
  const counts = new PairCounts(2, OTHER_MODELS);
  for (const model of ["a", "b", "c", "d", "a"]) counts.add(model, "routed");
  expect([...counts]).toEqual([
    ["a", "routed", 2],
    ["b", "routed", 1],
    [OTHER_MODELS, "routed", 2],
  ]);
});
