import { expect, test } from "vitest";
import { ArtifactUrlError } from "./artifact-url.ts";
import { pinnedArtifactUrl } from "./pin-annotation.ts";

const PIN = "0123456789abcdef".repeat(4);
const URL = "s3://models/x";

test.each([
  { name: "no annotation", url: URL, annotation: undefined, want: URL },
  { name: "no annotation, and a pin of the URL", url: `${URL}#sha256=${PIN}`, annotation: undefined, want: `${URL}#sha256=${PIN}` },
  { name: "an annotation", url: URL, annotation: PIN, want: `${URL}#sha256=${PIN}` },
  { name: "one as a status shows digests", url: URL, annotation: `sha256:${PIN}`, want: `${URL}#sha256=${PIN}` },
  { name: "the same digest twice", url: `${URL}#sha256=${PIN}`, annotation: PIN, want: `${URL}#sha256=${PIN}` },
])("$name", ({ url, annotation, want }) => {
  expect(pinnedArtifactUrl(url, annotation)).toBe(want);
});

test.each([
  { name: "two digests", url: `${URL}#sha256=${PIN}`, annotation: "f".repeat(64), says: "name two digests" },
  { name: "upper case", url: URL, annotation: PIN.toUpperCase(), says: "in lower case" },
  { name: "nothing", url: URL, annotation: "", says: "is no digest" },
  { name: "a long URL", url: `${URL}${"x".repeat(1000)}`, annotation: PIN, says: "longer than 1024" },
])("$name is refused", ({ url, annotation, says }) => {
  expect(() => pinnedArtifactUrl(url, annotation)).toThrow(ArtifactUrlError);
  expect(() => pinnedArtifactUrl(url, annotation)).toThrow(says);
});
