import { expect, test } from "vitest";
import { wallTime } from "./clock.ts";

test("tells the same time the same way until the wall clock is set", () => {
  let nowMs = 100;
  let wallMs = 1_000_000;
  const timeOf = wallTime(
    () => nowMs,
    () => wallMs,
  );
  expect(timeOf(100)).toBe(1_000_000);
  nowMs += 5_000;
  wallMs += 5_003;
  expect(timeOf(100)).toBe(1_000_000);
  expect(timeOf(6_100)).toBe(1_006_000);
  wallMs -= 86_400_000;
  expect(timeOf(5_100)).toBe(wallMs);
});
