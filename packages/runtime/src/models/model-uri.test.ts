import { describe, expect, test } from "vitest";
import { isSameModel, modelFolderName, parseModelUri, readSuffixes } from "./model-uri.ts";

test.each([
  { uri: "Qwen/Qwen2.5-Coder-1.5B-Instruct", whole: "huggingface://Qwen/Qwen2.5-Coder-1.5B-Instruct", name: "Qwen2.5-Coder-1.5B-Instruct" },
  { uri: "acme/model@v1", whole: "huggingface://acme/model@v1", name: "model" },
  { uri: "hf://acme/model", whole: "hf://acme/model", name: "model" },
  { uri: "huggingface://acme/model/gguf/small", whole: "huggingface://acme/model/gguf/small", name: "small" },
  { uri: "s3://bucket/models/qwen/", whole: "s3://bucket/models/qwen/", name: "qwen" },
  { uri: "gs://bucket/qwen", whole: "gs://bucket/qwen", name: "qwen" },
])("$uri becomes the folder $name", ({ uri, whole, name }) => {
  const parsed = parseModelUri(uri);
  expect(parsed.uri).toBe(whole);
  expect(modelFolderName(undefined, parsed.source)).toBe(name);
});

test.each([
  { uri: "", says: "of no known kind" },
  { uri: "model", says: "of no known kind" },
  { uri: "../models/x", says: "of no known kind" },
  { uri: "acme/../x", says: "of no known kind" },
  { uri: "tos://bucket/x", says: "of no known kind" },
  { uri: "s3://bucket", says: "write for example s3://" },
  { uri: "s3://bucket/a/../b", says: "model_uri" },
  { uri: "/models/x", says: "mounted here already" },
  { uri: "https://host/x.tar.gz", says: "archive" },
  { uri: "tos://me:secret@host/x", says: "***@host" },
])("$uri is refused", ({ uri, says }) => {
  expect(() => parseModelUri(uri)).toThrow(
    expect.objectContaining({ reason: "InvalidArtifactURL", message: expect.stringContaining(says) }),
  );
});

describe("a given name", () => {
  const { source } = parseModelUri("acme/model");
  test.each([
    { given: "mine", folder: "mine" },
    { given: "deepseek-ai/coder", folder: "deepseek-ai_coder" },
    { given: "_x", folder: "_x" },
    { given: "../up", folder: undefined },
    { given: "..", folder: undefined },
    { given: ".cache", folder: undefined },
    { given: "", folder: undefined },
    { given: "a b", folder: undefined },
    { given: "x".repeat(256), folder: undefined },
  ])("$given", ({ given, folder }) => {
    if (folder === undefined) expect(() => modelFolderName(given, source)).toThrow("cannot be the model's folder");
    else expect(modelFolderName(given, source)).toBe(folder);
  });
});

test("a revision does not make it another model; anything else does", () => {
  const of = (uri: string) => parseModelUri(uri).source;
  expect(isSameModel(of("acme/model@v1"), of("hf://acme/model"))).toBe(true);
  expect(isSameModel(of("acme/model"), of("other/model"))).toBe(false);
  expect(isSameModel(of("s3://abc/model"), of("gs://abc/model"))).toBe(false);
});

test.each([
  { text: undefined, suffixes: [] },
  { text: " ", suffixes: [] },
  { text: "json, safetensors", suffixes: ["json", "safetensors"] },
  { text: "safetensors,json,,json", suffixes: ["json", "safetensors"] },
])("suffixes $text", ({ text, suffixes }) => expect(readSuffixes(text)).toEqual(suffixes));
