import type { ByteRange } from "../sources/source.ts";

/** Spans with one more: in order, without overlaps, those that touch made one. */
export function withSpan(spans: readonly ByteRange[], span: ByteRange): readonly ByteRange[] {
  const merged: ByteRange[] = [];
  for (const next of [...spans, span].sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last !== undefined && next.start <= last.end) merged[merged.length - 1] = { start: last.start, end: Math.max(last.end, next.end) };
    else if (next.end > next.start) merged.push(next);
  }
  return merged;
}

/** What is missing of a file, in its order, in pieces that end at multiples of `partBytes`. */
export function missingSpans(sizeBytes: number, done: readonly ByteRange[], partBytes: number): readonly ByteRange[] {
  const missing: ByteRange[] = [];
  let at = 0;
  for (const { start, end } of [...done, { start: sizeBytes, end: sizeBytes }]) {
    while (at < start) {
      const cut = Math.min(start, (Math.floor(at / partBytes) + 1) * partBytes);
      missing.push({ start: at, end: cut });
      at = cut;
    }
    at = Math.max(at, end);
  }
  return missing;
}

/** Bytes that spans hold, which do not overlap. */
export function spanBytes(spans: readonly ByteRange[]): number {
  return spans.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Up to where a file is there without a gap. */
export function frontier(spans: readonly ByteRange[]): number {
  return spans[0]?.start === 0 ? spans[0].end : 0;
}
