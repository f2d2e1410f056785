import { expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { Flights } from "./flights.ts";

function setUp() {
  const flights = new Flights<string, number>();
  const done = Promise.withResolvers<string>();
  const seen = { starts: 0, aborted: undefined as unknown, report: (_: number): void => undefined };
  const work = (report: (n: number) => void, signal: AbortSignal) => {
    seen.starts += 1;
    seen.report = report;
    signal.addEventListener("abort", () => {
      seen.aborted = signal.reason;
    });
    return done.promise;
  };
  return { flights, done, seen, work };
}

test("who comes meanwhile joins, and sees the progress", async () => {
  const { flights, done, seen, work } = setUp();
  const told: number[][] = [[], []];
  const first = flights.join("k", work, (n) => told[0]?.push(n), NEVER);
  seen.report(1);
  const second = flights.join("k", work, (n) => told[1]?.push(n), NEVER);
  seen.report(2);
  done.resolve("here");
  expect({ results: await Promise.all([first, second]), starts: seen.starts, told }).toEqual({
    results: ["here", "here"],
    starts: 1,
    told: [
      [1, 2],
      [1, 2],
    ],
  });
  expect(flights.has("k")).toBe(false);
});

test("one that leaves is gone at once, and the work goes on for the other; when all have left it ends with the last one's reason", async () => {
  const { flights, seen, work } = setUp();
  const [a, b] = [new AbortController(), new AbortController()];
  const first = flights.join("k", work, () => undefined, a.signal);
  const second = flights.join("k", work, () => undefined, b.signal);
  const [one, two] = [new Error("one"), new Error("two")];
  a.abort(one);
  await expect(first).rejects.toBe(one);
  expect({ aborted: seen.aborted, has: flights.has("k") }).toEqual({ aborted: undefined, has: true });
  b.abort(two);
  await expect(second).rejects.toBe(two);
  expect({ aborted: seen.aborted, has: flights.has("k") }).toEqual({ aborted: two, has: false });
});

test("who comes after the end of one that was given up starts anew", async () => {
  const { flights, done, seen, work } = setUp();
  const a = new AbortController();
  const first = flights.join("k", work, () => undefined, a.signal);
  a.abort(new Error("one"));
  await expect(first).rejects.toThrow("one");
  const second = flights.join("k", work, () => undefined, NEVER);
  done.resolve("here");
  expect([await second, seen.starts]).toEqual(["here", 2]);
});

test("a failure is everybody's, and not kept", async () => {
  const { flights, done, seen, work } = setUp();
  const both = [flights.join("k", work, () => undefined, NEVER), flights.join("k", work, () => undefined, NEVER)];
  done.reject(new Error("no"));
  expect((await Promise.allSettled(both)).map((s) => s.status)).toEqual(["rejected", "rejected"]);
  expect({ has: flights.has("k"), starts: seen.starts }).toEqual({ has: false, starts: 1 });
});
