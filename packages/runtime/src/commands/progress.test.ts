import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LINE_MS, ProgressDisplay, progressBar, progressText } from "./progress.ts";

const half = { bytes: 1_500_000_000, totalBytes: 3_000_000_000, bytesPerSecond: 100_000_000 };

test.each([
  { name: "half", progress: half, says: "1.5 GB of 3.0 GB (50 %), 100.0 MB/s, 15 s left" },
  { name: "nothing comes", progress: { ...half, bytesPerSecond: 0 }, says: "1.5 GB of 3.0 GB (50 %), 0 B/s" },
  { name: "long", progress: { ...half, bytesPerSecond: 1_000_000 }, says: "1.5 GB of 3.0 GB (50 %), 1.0 MB/s, 25 min left" },
  { name: "longer", progress: { ...half, bytesPerSecond: 100_000 }, says: "1.5 GB of 3.0 GB (50 %), 100.0 kB/s, 5 h left" },
  { name: "nearly all is not all", progress: { ...half, bytes: 2_999_999_999 }, says: "3.0 GB of 3.0 GB (99 %), 100.0 MB/s, 1 s left" },
  { name: "all", progress: { ...half, bytes: 3_000_000_000 }, says: "3.0 GB of 3.0 GB (100 %), checking" },
  { name: "empty files only", progress: { bytes: 0, totalBytes: 0, bytesPerSecond: 0 }, says: "0 B of 0 B (100 %), checking" },
])("$name", ({ progress, says }) => expect(progressText(progress)).toBe(says));

test("a bar where a line has room for it, and never more than a line", () => {
  expect(progressBar(half, 100)).toBe(`[${"#".repeat(15)}${"-".repeat(15)}] ${progressText(half)}`);
  expect(progressBar(half, 60)).toBe(progressText(half));
  for (let columns = 0; columns < 120; columns += 1)
    expect(progressBar(half, columns).length).toBeLessThanOrEqual(Math.max(0, columns - 1));
});

describe("the display", () => {
  let written: string[];
  beforeEach(() => {
    written = [];
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function show(isTTY: boolean, forced = false) {
    return new ProgressDisplay({ write: (text: string) => written.push(text), isTTY, columns: 100 }, forced);
  }

  test("no terminal: a line every 10 seconds, also while nothing comes", () => {
    const display = show(false);
    display.update(half);
    vi.advanceTimersByTime(LINE_MS - 1);
    expect(written).toEqual([]);
    vi.advanceTimersByTime(1 + LINE_MS);
    expect(written).toEqual([`${progressText(half)}\n`, `${progressText(half)}\n`]);
    display.end();
    vi.advanceTimersByTime(10 * LINE_MS);
    expect(written).toHaveLength(2);
  });

  test.each([
    { name: "a terminal", isTTY: true, forced: false },
    { name: "a bar that was asked for", isTTY: false, forced: true },
  ])("$name: one line that is drawn anew, and is ended", ({ isTTY, forced }) => {
    const display = show(isTTY, forced);
    display.update(half);
    vi.advanceTimersByTime(1_000);
    display.update({ ...half, bytes: half.totalBytes });
    display.end();
    const drawn = written.slice(0, -1);
    expect(drawn.length).toBeGreaterThan(2);
    for (const text of drawn) {
      expect(text.startsWith("\r\u001b[K[")).toBe(true);
      expect(text).not.toContain("\n");
    }
    expect(drawn.at(-1)).toContain("(100 %)");
    expect(written.at(-1)).toBe("\n");
  });

  test("nothing is shown of what was here already", () => {
    show(true).end();
    expect(written).toEqual([]);
  });
});
