import { expect, test } from "vitest";
import { BLOCK_TOKENS, PrefixCache } from "./prefix-cache.ts";

const LONG = "x".repeat(4 * BLOCK_TOKENS + 4);

test.each([
  { name: "other weights under the same name and path", name2: "a", path2: "/p", prompt: LONG, tokens: BLOCK_TOKENS + 1, want: true },
  { name: "another path", name2: "a", path2: "/q", prompt: LONG, tokens: BLOCK_TOKENS + 1, want: false },
  { name: "another name", name2: "b", path2: "/p", prompt: LONG, tokens: BLOCK_TOKENS + 1, want: false },
  { name: "another prompt", name2: "a", path2: "/p", prompt: `y${LONG}`, tokens: BLOCK_TOKENS + 1, want: false },
  { name: "a prompt of one block", name2: "a", path2: "/p", prompt: LONG, tokens: BLOCK_TOKENS, want: false },
])("$name: stale $want", ({ name2, path2, prompt, tokens, want }) => {
  const cache = new PrefixCache();
  cache.isStale("a", "/p", LONG, BLOCK_TOKENS + 1, "old");
  expect(cache.isStale(name2, path2, prompt, tokens, "new")).toBe(want);
  expect(cache.isStale("a", "/p", LONG, BLOCK_TOKENS + 1, "old")).toBe(false);
});
