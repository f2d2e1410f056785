import { expect, test } from "vitest";
import { Loads } from "./loads.ts";
import { DESTINATIONS, Picker } from "./picker.ts";

/** A repeatable stream of numbers in [0, 1). */
function seeded(): () => number {
  let x = 1;
  return () => {
    x = (x * 16_807) % 2_147_483_647;
    return x / 2_147_483_647;
  };
}

function picker(now = () => 0, loads = new Loads()): Picker {
  return new Picker({ now, random: seeded(), loads });
}

test("a single candidate fills the list", () => {
  expect(picker().pick(["a"])).toEqual(Array.from({ length: DESTINATIONS }, () => "a"));
});

test("two candidates follow each other in turn", () => {
  expect(["a,b,a,b,a,b", "b,a,b,a,b,a"]).toContain(picker().pick(["a", "b"]).join(","));
});

test("four candidates are each in the list before one comes again", () => {
  const list = picker().pick(["a", "b", "c", "d"]);
  expect(list).toHaveLength(DESTINATIONS);
  expect(new Set(list.slice(0, 4)).size).toBe(4);
  expect(list.slice(4)).toEqual(list.slice(0, 2));
});

test("of more candidates than places each stands there once", () => {
  const many = Array.from({ length: 100 }, (_, i) => `h${i}`);
  expect(new Set(picker().pick(many)).size).toBe(DESTINATIONS);
});

test("others come last, where there are any, in the place of the last retries", () => {
  expect(["a,b,a,b,x,x", "b,a,b,a,x,x"]).toContain(picker().pick(["a", "b"], ["x"]).join(","));
  const list = picker().pick(["a", "b", "c", "d", "e", "f"], ["x", "y", "z"]);
  expect(new Set(list).size).toBe(DESTINATIONS);
  expect(list.map((one) => "xyz".includes(one))).toEqual([false, false, false, false, true, true]);
});

test("what is an other's is not counted as sent to it", () => {
  const loads = new Loads();
  picker(() => 0, loads).pick(["a"], ["x"]);
  expect([loads.of("a", 0), loads.of("x", 0)]).toEqual([1, 0]);
});

test("the load is even", () => {
  const p = picker();
  const counts = new Map<string, number>();
  for (let i = 0; i < 3_000; i++) {
    const [first = ""] = p.pick(["a", "b", "c"]);
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(50);
  expect(counts.size).toBe(3);
});

test("an engine that joins late is not flooded", () => {
  let nowMs = 0;
  const p = picker(() => nowMs);
  for (let i = 0; i < 10_000; i++) {
    nowMs += 1;
    p.pick(["a"]);
  }
  nowMs += 20_000;
  let b = 0;
  for (let i = 0; i < 1_000; i++) {
    nowMs += 1;
    if (p.pick(["a", "b"])[0] === "b") b += 1;
  }
  expect(b).toBeLessThan(600);
});

test("an engine that says that it is busy gets less", () => {
  const loads = new Loads();
  loads.onReported("a", 50, 0);
  const p = picker(() => 0, loads);
  const firsts = Array.from({ length: 60 }, () => p.pick(["a", "b"])[0]);
  expect(firsts.slice(0, 50)).toEqual(Array.from({ length: 50 }, () => "b"));
  expect(firsts.slice(50)).toContain("a");
});
