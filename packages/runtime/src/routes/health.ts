import { RUNTIME_PATHS, runtimeOpenApi } from "@aibrix/api";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { withNeutralCopies } from "../engine/exposition.ts";
import { messageOf } from "../errors.ts";
import { setGauges } from "../metrics.ts";
import type { AppDeps } from "./deps.ts";

/** `/healthz` (this process), `/ready` (this pod) and `/metrics` (ours, the engine's, and copies of the engine's under neutral names). */
export function healthRoutes({ engine, observer, feed, notReady, metrics, closing, log }: AppDeps): FastifyPluginAsyncTypebox {
  // However many scrape at once, a slow engine is asked by one call: its connections are for loads and looks.
  let asking: Promise<string> | undefined;
  const engineMetrics = async (): Promise<string> => {
    try {
      const page = withNeutralCopies(await engine.metrics(closing));
      metrics.engineScrapes.inc({ result: "success" });
      return page;
    } catch (error) {
      metrics.engineScrapes.inc({ result: "failure" });
      log.debug({ error: messageOf(error) }, "the engine gave no metrics that can be read: only the runtime's own are shown");
      return "";
    }
  };
  return async (app) => {
    app.get(RUNTIME_PATHS.healthz, async (_request, reply) => reply.type("text/plain").send("ok\n"));

    app.get(RUNTIME_PATHS.openapi, async (_request, reply) => reply.send(runtimeOpenApi()));
    app.get(RUNTIME_PATHS.ready, async (_request, reply) => {
      const reason = notReady();
      return reply
        .type("text/plain")
        .code(reason === undefined ? 200 : 503)
        .send(`${reason ?? "ok"}\n`);
    });

    app.get(RUNTIME_PATHS.metrics, async (_request, reply) => {
      setGauges(metrics, feed.snapshot().adapters, observer.view.ready);
      asking ??= engineMetrics().finally(() => (asking = undefined));
      const engines = await asking;
      const own = await metrics.registry.metrics();
      return reply.type(metrics.registry.contentType).send(`${own.trimEnd()}\n${engines}`);
    });
  };
}
