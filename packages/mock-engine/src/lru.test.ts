import { describe, expect, test } from "vitest";
import { AdapterCache } from "./lru.ts";

const idle = (): boolean => false;

function filled(...ids: readonly number[]): AdapterCache<string> {
  const cache = new AdapterCache<string>(3);
  for (const id of ids) cache.put(id, `v${id}`, idle);
  return cache;
}

describe("AdapterCache", () => {
  test("drops the least recently used entry", () => {
    const cache = filled(1, 2, 3);
    cache.get(1);
    expect(cache.put(4, "v4", idle)).toBe(2);
    expect([1, 2, 3, 4].map((id) => cache.peek(id))).toEqual(["v1", undefined, "v3", "v4"]);
  });

  test("a peek is no use", () => {
    const cache = filled(1, 2, 3);
    cache.peek(1);
    expect(cache.put(4, "v4", idle)).toBe(1);
  });

  test("spares what runs, but not when everything runs", () => {
    expect(filled(1, 2, 3).put(4, "v4", (id) => id === 1)).toBe(2);
    expect(filled(1, 2, 3).put(4, "v4", () => true)).toBe(1);
  });

  test("replacing an entry evicts nobody", () => {
    const cache = filled(1, 2, 3);
    expect(cache.put(2, "new", idle)).toBeUndefined();
    expect([cache.size, cache.peek(2)]).toEqual([3, "new"]);
  });

  test("a dropped entry makes room", () => {
    const cache = filled(1, 2, 3);
    cache.drop(3);
    expect(cache.put(4, "v4", idle)).toBeUndefined();
  });
});
