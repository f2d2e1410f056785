import type { FastifyInstance } from "fastify";
import { sendJson } from "../http.ts";
import type { MockSettings } from "../options.ts";
import { type RouteContext, readBody, refuse } from "./context.ts";

function isDelay(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

const CHECKS: { readonly [K in keyof MockSettings]: (value: unknown) => boolean } = {
  loadDelayMs: isDelay,
  tokenDelayMs: isDelay,
  crashOnLoad: (value) => value === null || typeof value === "string",
  errorShape: (value) => value === "nested" || value === "flat",
};

/** What is wrong with new settings, or undefined. */
function problem(body: Readonly<Record<string, unknown>>): string | undefined {
  for (const [key, value] of Object.entries(body)) {
    if (!Object.hasOwn(CHECKS, key)) return `unknown setting ${key}; known: ${Object.keys(CHECKS).join(", ")}`;
    if (!CHECKS[key as keyof MockSettings](value)) return `${key} cannot be ${JSON.stringify(value)}`;
  }
  return undefined;
}

/** Routes that vLLM does not have: tests steer the engine with them. They need no key. */
export function mockRoutes(app: FastifyInstance, context: RouteContext): void {
  const { engine } = context;

  app.post("/mock/crash", (_, reply) => {
    reply.hijack();
    engine.crash();
  });

  app.get("/mock/settings", (_, reply) => sendJson(reply, JSON.stringify(engine.settings)));

  app.post("/mock/settings", (request, reply) => {
    const body = readBody(request);
    if (!body.ok) return refuse(context, reply, body.refusal);
    const message = problem(body.value);
    if (message !== undefined) return refuse(context, reply, { status: 400, type: "BadRequestError", message });
    Object.assign(engine.settings, body.value);
    sendJson(reply, JSON.stringify(engine.settings));
  });
}
