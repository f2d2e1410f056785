import { describe, expect, test } from "vitest";
import { errorBody, notFound, sanitize } from "./errors.ts";

describe("errorBody", () => {
  test.each([
    ["nested", '{"error":{"message":"gone","type":"NotFoundError","param":"model","code":404}}'],
    ["flat", '{"object":"error","message":"gone","type":"NotFoundError","param":"model","code":404}'],
  ] as const)("%s", (shape, want) => {
    expect(errorBody(notFound("gone", "model"), shape)).toBe(want);
  });
});

describe("sanitize", () => {
  test.each([
    ["No adapter found for /tmp/x/y-1", "No adapter found for <path>"],
    ["No adapter found for /nope/none", "No adapter found for /nope/none"],
    ["cannot read /data/adapters/config.json", "cannot read <path>"],
    ["No adapter found for s3://bucket/adapter", "No adapter found for s3://bucket/adapter"],
  ])("%s", (message, want) => {
    expect(sanitize(message)).toBe(want);
  });
});
