import { expect, test } from "vitest";
import { checkPaths, isSafePath } from "./names.ts";

test.each([
  "config.json",
  "onnx/model.onnx",
  "a/b/c/d.bin",
  ".gitattributes",
  "1_Pooling/config.json",
  "モデル/重み.bin",
  "a b",
  "a..b/..c",
])("%j can be a path", (name) => expect(isSafePath(name)).toBe(true));

test.each([
  "",
  "/etc/passwd",
  "../x",
  "a/../x",
  "a/..",
  "./x",
  "a//b",
  "a/",
  "a\\..\\b",
  "a\0b",
  "a\nb",
  "a\u007f",
  "\ud800",
  "x".repeat(256),
  `${"x/".repeat(600)}x`,
])("%j cannot", (name) => expect(isSafePath(name)).toBe(false));

test("a name that leads elsewhere is refused with the name", () => {
  expect(() => checkPaths([{ name: "config.json" }, { name: "a/../../b" }], "hf://acme/model")).toThrow('"a/../../b"');
});

test("a name that is a file and a folder is refused", () => {
  expect(() => checkPaths([{ name: "a/b/c" }, { name: "a/b" }], "s3://b/p/")).toThrow("both a file a/b and a/b/c");
  expect(() => checkPaths([{ name: "a/b" }, { name: "a-b" }, { name: "a/c" }], "s3://b/p/")).not.toThrow();
});
