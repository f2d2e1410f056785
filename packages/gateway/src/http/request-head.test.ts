import { expect, test } from "vitest";
import { readRequestHead } from "./request-head.ts";

test.each([
  { values: [], want: "" },
  { values: ["identity"], want: "" },
  { values: ["Identity", ""], want: "" },
  { values: [" GZIP "], want: "gzip" },
  { values: ["gzip", "identity"], want: "gzip" },
  { values: ["identity", "gzip"], want: "gzip" },
  { values: ["gzip, identity"], want: "gzip" },
  { values: ["identity ,br", "zstd"], want: "br, zstd" },
])("content-encoding $values is $want", ({ values, want }) => {
  const headers = values.map((value) => ({ key: "content-encoding", value }));
  expect(readRequestHead(headers).contentEncoding).toBe(want);
});
