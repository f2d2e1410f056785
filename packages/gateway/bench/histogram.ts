/** Latencies: a bucket's least value in microseconds, and how many were in it; in any order. */
export type Buckets = readonly (readonly [us: number, count: number])[];

/** The bucket in which a percentile is, in microseconds; NaN of nothing. */
export function percentile(buckets: Buckets, percent: number): number {
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [us, count] of sorted) {
    seen += count;
    if (seen >= (total * percent) / 100) return us;
  }
  return Number.NaN;
}

/** The middle value; of an even number the mean of both; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.ceil((sorted.length - 1) / 2)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}
