import { expect, test } from "vitest";
import { Holds } from "./holds.ts";

test("takes no more requests, and no more of their bytes, than it may, and gives places back once", () => {
  const holds = new Holds({ requests: 2, bytes: 100 });
  const a = holds.take(60, () => undefined);
  expect(holds.take(41, () => undefined)).toBeUndefined();
  const b = holds.take(40, () => undefined);
  expect(holds.take(0, () => undefined)).toBeUndefined();
  expect(holds.size).toBe(2);
  a?.end();
  a?.end();
  expect(holds.take(61, () => undefined)).toBeUndefined();
  expect(holds.take(60, () => undefined)).toBeDefined();
  b?.end();
  expect(holds.size).toBe(1);
});

test("tells those that it holds when their time becomes shorter, also where one of them ends by that", () => {
  const holds = new Holds({ requests: 9, bytes: 9 });
  const told: number[] = [];
  const first = holds.take(1, () => {
    told.push(1);
    first?.end();
  });
  holds.take(1, () => told.push(2))?.end();
  holds.take(1, () => told.push(3));
  holds.shorten(5);
  expect([told, holds.untilMs, holds.size]).toEqual([[1, 3], 5, 1]);
});
