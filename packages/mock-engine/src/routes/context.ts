import type { FastifyReply, FastifyRequest } from "fastify";
import { type JsonObject, type Parsed, parseObject } from "../body.ts";
import type { Engine } from "../engine.ts";
import type { Refusal } from "../errors.ts";
import { sendRefusal } from "../http.ts";
import type { Metrics } from "../metrics.ts";

/** What every group of routes works with. */
export interface RouteContext {
  readonly engine: Engine;
  readonly metrics: Metrics;
}

/** The JSON object of a request, read as FastAPI reads it. */
export function readBody(request: FastifyRequest): Parsed<JsonObject> {
  return parseObject(request.headers["content-type"], request.body as Buffer | undefined);
}

/** Sends a refusal in the shape that is set now. */
export function refuse({ engine }: RouteContext, reply: FastifyReply, refusal: Refusal): void {
  sendRefusal(reply, refusal, engine.settings.errorShape);
}
