import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import { type ErrorShape, errorBody, type Refusal } from "./errors.ts";

const JSON_TYPE = "application/json";

function start(res: ServerResponse, status: number, headers: Readonly<Record<string, string | number>>): void {
  // Uvicorn sends neither Connection nor Keep-Alive on HTTP/1.1; Node would.
  res.removeHeader("connection");
  res.writeHead(status, { server: "uvicorn", ...headers });
}

/**
 * Answers with exactly these headers. Fastify's own `send` adds a charset to JSON and a type to text, which vLLM does not.
 * `vary` is what its CORS middleware adds to everything behind it, which is all but the refusals of the key check.
 */
export function send(
  reply: FastifyReply,
  status: number,
  body: string,
  type: string | undefined,
  extra: Readonly<Record<string, string>> = { vary: "Origin" },
): void {
  reply.hijack();
  const length = Buffer.byteLength(body);
  start(reply.raw, status, {
    ...(extra.allow === undefined ? {} : { allow: extra.allow }),
    "content-length": length,
    ...(type === undefined ? {} : { "content-type": type }),
    ...extra,
  });
  reply.raw.end(body);
}

export function sendJson(reply: FastifyReply, body: string): void {
  send(reply, 200, body, JSON_TYPE);
}

/** Success of load and unload: text without a content type. */
export function sendText(reply: FastifyReply, body: string): void {
  send(reply, 200, body, undefined);
}

export function sendRefusal(reply: FastifyReply, refusal: Refusal, shape: ErrorShape): void {
  send(reply, refusal.status, errorBody(refusal, shape), JSON_TYPE);
}

/** FastAPI's own answers, for example 404 and 405: `{"detail": …}` in both error shapes. */
export function sendDetail(reply: FastifyReply, status: number, detail: string, allow?: string): void {
  send(reply, status, JSON.stringify({ detail }), JSON_TYPE, allow === undefined ? { vary: "Origin" } : { allow, vary: "Origin" });
}

export function sendUnauthorized(reply: FastifyReply): void {
  send(reply, 401, JSON.stringify({ error: "Unauthorized" }), JSON_TYPE, {});
}

/** Starts a stream of events and returns the response to write to. */
export function startEvents(reply: FastifyReply): ServerResponse {
  reply.hijack();
  start(reply.raw, 200, { "content-type": "text/event-stream; charset=utf-8", vary: "Origin" });
  return reply.raw;
}
