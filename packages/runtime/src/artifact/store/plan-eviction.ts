/** Something in the cache that could be removed. */
export interface CacheEntry {
  readonly id: string;
  readonly bytes: number;
  /** A pod has links to it: an engine may be reading it or is to load it, and removing the cache's copy would free nothing. Or it is being written. */
  readonly linked: boolean;
  readonly usedMs: number;
}

export interface CacheState {
  readonly entries: readonly CacheEntry[];
  readonly freeBytes: number;
  readonly maxBytes: number | undefined;
  readonly minFreeBytes: number;
  /** What is about to be written. */
  readonly neededBytes: number;
}

/** Which entries go, so that the bounds hold: unlinked ones, the least recently used first, and no more than it takes. Pure. */
export function planEviction(state: CacheState): readonly CacheEntry[] {
  const { entries, freeBytes, maxBytes = Number.POSITIVE_INFINITY, minFreeBytes, neededBytes } = state;
  const total = entries.reduce((sum, e) => sum + e.bytes, 0);
  let excess = Math.max(total + neededBytes - maxBytes, minFreeBytes + neededBytes - freeBytes);
  const evicted: CacheEntry[] = [];
  for (const entry of entries.filter((e) => !e.linked).sort((a, b) => a.usedMs - b.usedMs)) {
    if (excess <= 0) break;
    evicted.push(entry);
    excess -= entry.bytes;
  }
  return evicted;
}
