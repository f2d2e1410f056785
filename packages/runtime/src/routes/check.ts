import { CheckRequestSchema, RUNTIME_PATHS } from "@aibrix/api";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { baseModelWarning, readBaseModel } from "../artifact/check/base-model.ts";
import { readDelivery } from "../artifact/delivery.ts";
import { AdapterError, RequestError } from "../errors.ts";
import { BODY_LIMIT_BYTES, checkUrl } from "./adapters.ts";
import type { AppDeps } from "./deps.ts";
import { requireToken } from "./token.ts";

/** The dry run. It wants the token like a load: it reads whatever the runtime may read. */
export function checkRoutes({ checks, observer, maxLoraRank, closing, tokenFile }: AppDeps): FastifyPluginAsyncTypebox {
  const options = { bodyLimit: BODY_LIMIT_BYTES, ...(tokenFile === undefined ? {} : { onRequest: requireToken(tokenFile) }) };
  return async (app) => {
    app.post(RUNTIME_PATHS.check, { ...options, schema: { body: CheckRequestSchema } }, async (request, reply) => {
      const { artifact_url: url, credentials = {}, credentials_hosts: credentialsHosts, limits, delivery, deep = false } = request.body;
      checkUrl({ artifact_url: url });
      const byEngine = deliveryMode(delivery, url) === "engine";
      // Who has gone wants no answer.
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort());
      const models = [...(observer.view.models?.values() ?? [])];
      const engine = { maxLoraRank: limits?.max_lora_rank ?? maxLoraRank, base: await readBaseModel(models) };
      const warn = (trainedOn: string | undefined) => baseModelWarning(trainedOn, models);
      const signal = AbortSignal.any([closing, gone.signal]);
      const report = await checks.run({ url, credentials, credentialsHosts, deep, engine, warn }, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
        throw new RequestError(503, "Ended", "the check was ended, for the runtime ends or nobody waits for it: ask again");
      });
      const unchecked = "with delivery.mode engine a load call checks nothing: the engine reads the artifact itself";
      return reply.send(byEngine ? { ...report, warnings: [...report.warnings, unchecked] } : report);
    });
  };
}

function deliveryMode(...[delivery, url]: Parameters<typeof readDelivery>): string | undefined {
  try {
    return readDelivery(delivery, url)?.mode;
  } catch (error) {
    if (error instanceof AdapterError) throw new RequestError(422, error.reason, error.message, { cause: error.cause });
    throw error;
  }
}
