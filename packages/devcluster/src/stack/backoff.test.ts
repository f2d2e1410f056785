import { expect, test } from "vitest";
import { restartDelayMs } from "./backoff.ts";

test("pauses grow from 200 ms and end at 10 s", () => {
  expect([1, 2, 3, 4, 5, 6, 7, 20].map(restartDelayMs)).toEqual([200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
});
