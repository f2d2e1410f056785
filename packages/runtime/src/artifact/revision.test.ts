import { ContentRefSchema } from "@aibrix/api";
import { Check } from "typebox/value";
import { expect, test } from "vitest";
import { filesAt, filesRevision, isFilesRevision } from "./revision.ts";
import type { RemoteFile } from "./sources/source.ts";

const file = (name: string, etag: string, sizeBytes = 10): RemoteFile => ({ name, etag, sizeBytes });
const config = file("adapter_config.json", "a");
const weights = file("adapter_model.safetensors", "b");

test("the same versions have one name in whatever order, and another size, version or file has another one", () => {
  const revision = filesRevision([config, weights]);
  expect(isFilesRevision(revision)).toBe(true);
  expect(filesRevision([weights, config])).toBe(revision);
  const others = [[config], [config, { ...weights, etag: "c" }], [config, { ...weights, sizeBytes: 11 }], [config, file("x", "b")]];
  expect(new Set([revision, ...others.map(filesRevision)]).size).toBe(5);
});

test("of what says nothing of its versions, and of more files than an adapter has, there is none", () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => file(`${i}.json`, "x"));
  expect([filesRevision([]), filesRevision([config, file("w", "")]), filesRevision(many(28))]).toEqual([undefined, undefined, undefined]);
  const revision = filesRevision(many(27));
  expect(Check(ContentRefSchema, { digest: `sha256:${"0".repeat(64)}`, revision })).toBe(true);
});

test("a commit is none", () => {
  expect([isFilesRevision(undefined), isFilesRevision("0".repeat(40))]).toEqual([false, false]);
});

test("each file is found in the version that is meant, once; where one is gone nothing is", () => {
  const revision = filesRevision([config, weights]) ?? "";
  const former = { ...weights, version: "v1" };
  const versions = [config, { ...weights, etag: "later" }, former, { ...former, version: "v0" }, file("other.json", "a")];
  expect(filesAt(revision, versions)).toEqual([config, former]);
  expect(filesAt(revision, [config, { ...weights, etag: "later" }])).toBeUndefined();
});
