import fc from "fast-check";
import { expect, test } from "vitest";
import { ARTIFACT_SCHEMES, ArtifactUrlError, parseArtifactUrl } from "./artifact-url.ts";

const PIN = "0123456789abcdef".repeat(4);

test.each([
  { url: "huggingface://acme/sql-lora", want: { kind: "huggingface", repo: "acme/sql-lora", revision: undefined, path: "" } },
  { url: "hf://acme/sql.lora_v1@8f3c2d1", want: { kind: "huggingface", repo: "acme/sql.lora_v1", revision: "8f3c2d1", path: "" } },
  { url: "hf://acme/many/sub/a b/", want: { kind: "huggingface", repo: "acme/many", revision: undefined, path: "sub/a b" } },
  {
    url: `hf://acme/many@v1/sub#sha256=${PIN}`,
    want: { kind: "huggingface", repo: "acme/many", revision: "v1", path: "sub", sha256: PIN },
  },
  { url: `s3://models/a/b/#sha256=${PIN}`, want: { kind: "s3", bucket: "models", prefix: "a/b", sha256: PIN } },
  { url: "gs://my_models.example/a/b/", want: { kind: "gs", bucket: "my_models.example", prefix: "a/b" } },
  { url: "gcs://models/a", want: { kind: "gs", bucket: "models", prefix: "a" } },
  { url: "https://h.example/a.tar.gz", want: { kind: "http", url: "https://h.example/a.tar.gz", archive: "tar.gz" } },
  { url: "http://10.0.0.7:8080/x@1/a.tgz", want: { kind: "http", url: "http://10.0.0.7:8080/x@1/a.tgz", archive: "tar.gz" } },
  { url: "https://[2001:db8::1]/a.tar", want: { kind: "http", url: "https://[2001:db8::1]/a.tar", archive: "tar" } },
  { url: `https://h/a.zip#sha256=${PIN}`, want: { kind: "http", url: "https://h/a.zip", archive: "zip", sha256: PIN } },
  { url: `/models/x/#sha256=${PIN}`, want: { kind: "path", path: "/models/x", sha256: PIN } },
  { url: "s3://models/a/b", want: { kind: "s3", bucket: "models", prefix: "a/b" } },
  { url: "s3://models/a/b/", want: { kind: "s3", bucket: "models", prefix: "a/b" } },
  { url: "s3://models//a//b//", want: { kind: "s3", bucket: "models", prefix: "/a//b" } },
  { url: "/models/sql-lora/", want: { kind: "path", path: "/models/sql-lora" } },
])("reads $url", ({ url, want }) => {
  expect(parseArtifactUrl(url)).toEqual(want);
});

test.each([
  "",
  "models/x",
  "ftp://x",
  "hf://a/b//c",
  "hf://a/b/../c",
  "hf://a/b@",
  "hf://a/b@..",
  "hf://a/b@v1@v2",
  "hf://a/b#main",
  "hf://a/b/c\ud800",
  "gs://models/",
  "gs://-models/x",
  "https://h/a.tar.bz2",
  "https://h/a",
  "https://h/a.zip?x=1",
  "https://h/../a.zip",
  "https://h:99999/a.zip",
  "https:///a.zip",
  "https://1.2.3.4.5/a.zip",
  "https://h/a.zip#sha256=abc",
  `https://h/a.zip#sha256=${PIN.toUpperCase()}`,
  `https://h/a.zip#md5=${PIN}`,
  `/a/..#sha256=${PIN}`,
  "/a#b",
  "/a\nb",
  "s3://models/a\u0000b",
  "hf://../b",
  "s3://B/x",
  "s3://models/",
  "s3://models//",
  "s3://models///",
  `s3://models//#sha256=${PIN}`,
  "gs://models//",
  "gcs://models///",
  "/",
  "//host/x",
  "/a/./b",
  `/${"a".repeat(2000)}`,
])("refuses %j", (url) => {
  expect(() => parseArtifactUrl(url)).toThrow(ArtifactUrlError);
});

test("counts code points, as the API server does", () => {
  const longest = `/${"\u{1f600}".repeat(1023)}`;
  expect(parseArtifactUrl(longest)).toEqual({ kind: "path", path: longest });
  expect(() => parseArtifactUrl(`${longest}x`)).toThrow(/longer than 1024 characters/);
});

test("shows no password", () => {
  expect(() => parseArtifactUrl("ftp://me:hunter2@host/x")).toThrow(/ftp:\/\/\*\*\*@host/);
});

test.each(["https://me:hunter2@host/x.zip", "http://me@host/x.zip", "https://me:hunter2@host"])(
  "sends who writes a user name to a Secret: %s",
  (url) => {
    const refused = () => parseArtifactUrl(url);
    expect(refused).toThrow(/http_username and http_password, or http_bearer_token, into a Secret/);
    expect(refused).not.toThrow(/hunter2/);
  },
);

test("every example of the table can be read", () => {
  for (const s of ARTIFACT_SCHEMES) expect(parseArtifactUrl(s.example).kind).toBe(s.kind);
});

test("any text is read or refused with an ArtifactUrlError", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        ...["s3://models", "gs://models", "gcs://models"].map((p) =>
          fc.string({ unit: fc.constantFrom("/", "a", ".", "-", "models"), maxLength: 6 }).map((s) => p + s),
        ),
        ...["hf://a/b", "s3://models/", "gs://models/", "https://", "https://h/", "/a"].map((p) =>
          fc.string({ unit: "binary" }).map((s) => p + s),
        ),
        ...["hf://a/b", "s3://models/", "https://h/"].map((p) => fc.string().map((s) => `${p}${s}.tar.gz#sha256=${PIN}`)),
      ),
      (url) => {
        try {
          const source = parseArtifactUrl(url);
          const path =
            source.kind === "path" || source.kind === "huggingface" ? source.path : source.kind === "http" ? source.url : source.prefix;
          expect(path).not.toMatch(/(^|\/)\.\.?(\/|$)|#/);
          // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may come through.
          expect(path).not.toMatch(/[\x00-\x1f]/);
          expect(() => encodeURIComponent(path)).not.toThrow();
          if (source.kind === "s3" || source.kind === "gs") {
            // The bucket is the one that is written, and the prefix all of the rest: nothing of the one gets into the other.
            expect(source.bucket).toBe(url.split("/")[2]);
            const written = url.slice(url.indexOf(source.bucket) + source.bucket.length + 1).split("#")[0] ?? "";
            expect(source.prefix).not.toBe("");
            expect(source.prefix).toBe(written.replace(/\/+$/, ""));
          }
          if (source.kind === "http") expect(new URL(source.url).username + new URL(source.url).search).toBe("");
        } catch (error) {
          expect(error).toBeInstanceOf(ArtifactUrlError);
        }
      },
    ),
  );
});
