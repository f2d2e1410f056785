import type { Reason } from "@aibrix/api";
import { expect, test } from "vitest";
import { AdapterError, causeOf, errorDetail, HttpAnswer, statusOf } from "./errors.ts";

const withCode = (code: unknown) => Object.assign(new Error("connect http://me:hunter2@host"), { code });

test.each([
  { name: "a connection that was refused", thrown: new Error("x", { cause: withCode("ECONNREFUSED") }), want: "ECONNREFUSED" },
  { name: "time that ran out", thrown: new DOMException("late", "TimeoutError"), want: "TIMEOUT" },
  { name: "a full disk", thrown: withCode("ENOSPC"), want: "ENOSPC" },
  { name: "an answer", thrown: new HttpAnswer(404), want: "HTTP 404" },
  { name: "an answer to Amazon's client", thrown: Object.assign(new Error("x"), { $metadata: { httpStatusCode: 503 } }), want: "HTTP 503" },
  { name: "an answer to Google's client", thrown: withCode(403), want: "HTTP 403" },
  {
    name: "a cause of a cause",
    thrown: new Error("x", { cause: new AdapterError("ArtifactDenied", "y", { cause: new HttpAnswer(401) }) }),
    want: "HTTP 401",
  },
  { name: "words of somebody else's", thrown: withCode("https://me:hunter2@host"), want: undefined },
  { name: "nothing", thrown: undefined, want: undefined },
])("the cause of $name", ({ thrown, want }) => {
  expect(causeOf(thrown)).toBe(want);
});

test("an error without such a cause shows none", () => {
  expect(errorDetail(new AdapterError("ArtifactInvalid", "m"))).toEqual({ code: "ArtifactInvalid", message: "m", retryable: false });
  expect(errorDetail(new AdapterError("ArtifactUnavailable", "m", { cause: new HttpAnswer(502) }))).toMatchObject({ cause: "HTTP 502" });
});

test.each<[Reason, number]>([
  ["InvalidArtifactURL", 400],
  ["ArtifactNotFound", 404],
  ["NameConflict", 409],
  ["FolderTaken", 409],
  ["ArtifactInvalid", 422],
  ["ArtifactUnfit", 422],
  ["ArtifactNotAllowed", 422],
  ["ArtifactDenied", 424],
  ["ArtifactUnavailable", 502],
  ["StorageFull", 503],
  ["EngineUnavailable", 503],
  ["ModelAdapterPending", 500],
])("%s is HTTP %i", (reason, status) => expect(statusOf(new AdapterError(reason, "x"))).toBe(status));

test("a source that is too slow is 504", () => {
  const error = new AdapterError("ArtifactUnavailable", "slow", { cause: new DOMException("x", "TimeoutError") });
  expect(statusOf(error)).toBe(504);
});
