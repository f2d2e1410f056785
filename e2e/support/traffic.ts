/** Numbers from 0 to 1 that are the same at every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws from names by Zipf's law: the k-th is asked for 1/k as often as the first. */
export function zipf<T>(names: readonly T[], random: () => number): () => T {
  let sum = 0;
  const sums = names.map((_, k) => {
    sum += 1 / (k + 1);
    return sum;
  });
  return () => {
    const at = random() * sum;
    return names[sums.findIndex((s) => at < s)] as T;
  };
}

/** Works through items in order, so many at once. */
export async function inParallel<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
    }),
  );
}
