import { ModelDownloadRequestSchema, RUNTIME_PATHS } from "@aibrix/api";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { BODY_LIMIT_BYTES } from "./adapters.ts";
import type { AppDeps } from "./deps.ts";
import { requireToken } from "./token.ts";

/** Base models: download and list. */
export function baseModelRoutes({ downloads, closing, tokenFile }: AppDeps): FastifyPluginAsyncTypebox {
  const changes = { bodyLimit: BODY_LIMIT_BYTES, ...(tokenFile === undefined ? {} : { onRequest: requireToken(tokenFile) }) };
  return async (app) => {
    app.post(RUNTIME_PATHS.modelDownload, { ...changes, schema: { body: ModelDownloadRequestSchema } }, async (request, reply) => {
      // Who has gone wants no answer; the download goes on.
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort());
      const { status, body } = await downloads.start(request.body, AbortSignal.any([closing, gone.signal]));
      return reply.code(status).send(body);
    });

    app.get(RUNTIME_PATHS.modelList, async () => ({ object: "list", data: await downloads.list() }));
  };
}
