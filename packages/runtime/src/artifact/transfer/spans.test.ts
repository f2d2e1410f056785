import fc from "fast-check";
import { expect, test } from "vitest";
import { frontier, missingSpans, spanBytes, withSpan } from "./spans.ts";

const span = (start: number, end: number) => ({ start, end });

test("spans that touch or overlap are one", () => {
  expect(withSpan([span(0, 10), span(20, 30)], span(10, 20))).toEqual([span(0, 30)]);
  expect(withSpan([span(5, 10)], span(0, 7))).toEqual([span(0, 10)]);
  expect(withSpan([span(5, 10)], span(20, 20))).toEqual([span(5, 10)]);
});

test("what is missing ends at multiples of a part", () => {
  expect(missingSpans(25, [], 10)).toEqual([span(0, 10), span(10, 20), span(20, 25)]);
  expect(missingSpans(25, [span(0, 4), span(12, 13)], 10)).toEqual([span(4, 10), span(10, 12), span(13, 20), span(20, 25)]);
  expect(missingSpans(25, [span(0, 25)], 10)).toEqual([]);
  expect(missingSpans(0, [], 10)).toEqual([]);
});

test("the frontier is where the first gap is", () => {
  expect(frontier([])).toBe(0);
  expect(frontier([span(1, 5)])).toBe(0);
  expect(frontier([span(0, 5), span(6, 9)])).toBe(5);
});

test("what is done and what is missing are the whole file, each byte once", () => {
  const given = fc.record({
    size: fc.integer({ min: 0, max: 200 }),
    part: fc.integer({ min: 1, max: 50 }),
    cuts: fc.array(fc.tuple(fc.nat(200), fc.nat(200))),
  });
  fc.assert(
    fc.property(given, ({ size, part, cuts }) => {
      const spans = cuts.map(([a, b]) => span(Math.min(a, b, size), Math.min(Math.max(a, b), size)));
      const done = spans.reduce((all, next) => withSpan(all, next), [] as readonly { start: number; end: number }[]);
      const missing = missingSpans(size, done, part);
      expect(spanBytes(done) + spanBytes(missing)).toBe(size);
      expect(missing.reduce((all, next) => withSpan(all, next), done)).toEqual(size === 0 ? [] : [span(0, size)]);
      expect(missing.every((m) => m.end - m.start <= part && m.end > m.start)).toBe(true);
    }),
  );
});
