import { expect, test } from "vitest";
import { errorFromAnswer, isRetryable, TerminalError } from "./errors.ts";

const status = (code: number, reason: string, more: object = {}) =>
  JSON.stringify({ kind: "Status", code, reason, message: "why", ...more });

test.each([
  { code: 400, body: status(400, "BadRequest"), want: { reason: "BadRequest", retryable: false } },
  { code: 401, body: status(401, "Unauthorized"), want: { retryable: true } },
  { code: 403, body: status(403, "Forbidden"), want: { retryable: true } },
  { code: 404, body: status(404, "NotFound"), want: { retryable: false, notFound: true } },
  { code: 409, body: status(409, "Conflict"), want: { retryable: true, conflict: true, alreadyExists: false } },
  { code: 409, body: status(409, "AlreadyExists"), want: { retryable: true, conflict: false, alreadyExists: true } },
  { code: 410, body: status(410, "Expired"), want: { retryable: false, expired: true } },
  { code: 422, body: status(422, "Invalid"), want: { retryable: false } },
  { code: 429, body: status(429, "TooManyRequests"), want: { retryable: true } },
  { code: 500, body: "<html>", want: { reason: "InternalError", retryable: true } },
  { code: 503, body: "", want: { retryable: true } },
  { code: 504, body: status(504, "Timeout", { details: { retryAfterSeconds: 3 } }), want: { retryable: true, retryAfterMs: 3000 } },
])("$code $want", ({ code, body, want }) => {
  expect(errorFromAnswer("GET /x", code, body, undefined)).toMatchObject({ status: code, ...want });
});

test("the header Retry-After holds against the body, up to five minutes", () => {
  expect(errorFromAnswer("x", 429, status(429, "TooManyRequests", { details: { retryAfterSeconds: 9 } }), "2").retryAfterMs).toBe(2000);
  expect(errorFromAnswer("x", 429, "", "86400").retryAfterMs).toBe(300_000);
  expect(errorFromAnswer("x", 429, "", "soon").retryAfterMs).toBeUndefined();
});

test("the message says the call, the status and the server's words", () => {
  expect(errorFromAnswer("GET /api/v1/pods", 403, status(403, "Forbidden"), undefined).message).toBe(
    "GET /api/v1/pods: 403 Forbidden: why",
  );
});

test("errors that nobody classed are tried again, terminal ones are not", () => {
  expect(isRetryable(new Error("x"))).toBe(true);
  expect(isRetryable(undefined)).toBe(true);
  expect(isRetryable(new TerminalError("x"))).toBe(false);
});
