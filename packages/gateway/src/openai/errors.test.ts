import { expect, test } from "vitest";
import { modelNotReady } from "./errors.ts";

test.each([
  { why: "it is Downloading", retryAfter: "2", says: /Try again shortly/ },
  { why: "it is Pending: the engine does not answer (EngineUnavailable)", retryAfter: "2", says: /Try again shortly/ },
  { why: "it is Failed: the artifact does not exist where the artifactURL points (ArtifactNotFound)", retryAfter: "60", says: /operator/ },
])("$why: asked again after $retryAfter s", ({ why, retryAfter, says }) => {
  const answer = modelNotReady("a", why);
  expect(answer.status).toBe(503);
  expect(answer.headers["retry-after"]).toBe(retryAfter);
  expect(JSON.parse(answer.body).error.message).toMatch(says);
});
