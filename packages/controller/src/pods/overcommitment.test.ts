import { expect, test } from "vitest";
import { limitsOf, saidLimits } from "./limits.ts";
import { Overcommitment } from "./overcommitment.ts";

test("a pod begins to have too many once, until it has few enough again", () => {
  const pods = new Overcommitment();
  const limits = limitsOf(saidLimits({ "model.aibrix.ai/max-cpu-loras": "2" }, undefined), undefined);
  const begins = (...counts: number[]) => counts.map((count) => pods.begins("u", count, limits));
  expect(begins(1, 2, 3, 3, 4)).toEqual([false, false, true, false, false]);
  expect(begins(2, 3)).toEqual([false, true]);
  expect(pods.begins("other", 3, limits)).toBe(true);
  pods.forgetPod("u");
  expect(begins(3)).toEqual([true]);
});
