import type { FastifyInstance } from "fastify";
import { checkFields } from "../body.ts";
import { notFound } from "../errors.ts";
import { send, sendJson } from "../http.ts";
import { METRICS_CONTENT_TYPE } from "../metrics.ts";
import { modelList, VLLM_VERSION } from "../openai.ts";
import { tokenIds } from "../text.ts";
import { type RouteContext, readBody, refuse } from "./context.ts";

const DOCS = "<!DOCTYPE html><html><head><title>FastAPI - Swagger UI</title></head><body>A mock of vLLM's HTTP surface.</body></html>";

/** Routes that tell about the engine. None but /v1/models needs a key. */
export function statusRoutes(app: FastifyInstance, context: RouteContext): void {
  const { engine, metrics } = context;

  for (const path of ["/health", "/ping"]) app.get(path, (_, reply) => send(reply, engine.dead ? 503 : 200, "", undefined));
  app.post("/ping", (_, reply) => send(reply, engine.dead ? 503 : 200, "", undefined));
  app.get("/version", (_, reply) => sendJson(reply, JSON.stringify({ version: VLLM_VERSION })));
  // vLLM counts only with --enable-server-load-tracking; without it the answer is always 0.
  app.get("/load", (_, reply) => sendJson(reply, JSON.stringify({ server_load: 0 })));
  app.get("/docs", (_, reply) => send(reply, 200, DOCS, "text/html; charset=utf-8"));
  app.get("/metrics", async (_, reply) => send(reply, 200, await metrics.page(), METRICS_CONTENT_TYPE));
  // Here prometheus_client itself answers, which takes names.
  app.get("/metrics/", async (request, reply) => {
    const names = (request.query as Readonly<Record<string, string | readonly string[] | undefined>>)["name[]"];
    const page = names === undefined ? await metrics.page() : await metrics.seriesOf(new Set([names].flat()));
    return send(reply, 200, page, METRICS_CONTENT_TYPE);
  });

  app.get("/v1/models", (_, reply) => {
    const base = engine.options.servedModelNames.map((id) => ({
      id,
      root: engine.options.model,
      parent: null,
      maxModelLen: engine.maxModelLen,
    }));
    const adapters = [...engine.adapters()].map(({ name, path, parent }) => ({ id: name, root: path, parent, maxModelLen: null }));
    sendJson(reply, modelList([...base, ...adapters]));
  });

  app.post("/tokenize", (request, reply) => {
    const body = readBody(request);
    if (!body.ok) return refuse(context, reply, body.refusal);
    const invalid = checkFields(body.value, { model: { type: "string" }, prompt: { type: "string", required: true } });
    if (invalid !== undefined) return refuse(context, reply, invalid);
    const model = body.value.model as string | null | undefined;
    if (engine.find(model) === undefined) {
      return refuse(
        context,
        reply,
        notFound(`The model \`${model}\` does not exist. Valid aliases: ${engine.options.servedModelNames.join(", ")}.`, "model"),
      );
    }
    const tokens = tokenIds(body.value.prompt as string);
    sendJson(reply, JSON.stringify({ count: tokens.length, max_model_len: engine.maxModelLen, tokens, token_strs: null }));
  });
}
