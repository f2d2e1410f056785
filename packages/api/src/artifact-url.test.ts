import fc from "fast-check";
import { expect, test } from "vitest";
import { ARTIFACT_SCHEMES, ArtifactUrlError, parseArtifactUrl } from "./artifact-url.ts";

test.each([
  { url: "huggingface://acme/sql-lora", want: { kind: "huggingface", repo: "acme/sql-lora", revision: undefined } },
  { url: "hf://acme/sql.lora_v1@8f3c2d1", want: { kind: "huggingface", repo: "acme/sql.lora_v1", revision: "8f3c2d1" } },
  { url: "s3://models/a/b", want: { kind: "s3", bucket: "models", prefix: "a/b" } },
  { url: "s3://models/a/b/", want: { kind: "s3", bucket: "models", prefix: "a/b" } },
  { url: "/models/sql-lora/", want: { kind: "path", path: "/models/sql-lora" } },
])("reads $url", ({ url, want }) => {
  expect(parseArtifactUrl(url)).toEqual(want);
});

test.each([
  "",
  "models/x",
  "ftp://x",
  "hf://a/b/c",
  "hf://a/b@",
  "hf://../b",
  "s3://B/x",
  "s3://models/",
  "/",
  "//host/x",
  "/a/./b",
  `/${"a".repeat(2000)}`,
])("refuses %j", (url) => {
  expect(() => parseArtifactUrl(url)).toThrow(ArtifactUrlError);
});

test("shows no password", () => {
  expect(() => parseArtifactUrl("ftp://me:hunter2@host/x")).toThrow(/ftp:\/\/\*\*\*@host/);
});

test("every example of the table can be read", () => {
  for (const s of ARTIFACT_SCHEMES) expect(parseArtifactUrl(s.example).kind).toBe(s.kind);
});

test("any text is read or refused with an ArtifactUrlError", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        fc.string().map((s) => `hf://${s}`),
        fc.string().map((s) => `s3://${s}`),
      ),
      (url) => {
        try {
          const source = parseArtifactUrl(url);
          if (source.kind === "path") expect(source.path).not.toMatch(/(^|\/)\.\.(\/|$)/);
        } catch (error) {
          expect(error).toBeInstanceOf(ArtifactUrlError);
        }
      },
    ),
  );
});
