import { RUNTIME_PATHS } from "@aibrix/api";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { messageOf } from "../errors.ts";
import { setGauges } from "../metrics.ts";
import type { AppDeps } from "./deps.ts";

/** `/healthz` (this process), `/ready` (this pod) and `/metrics` (ours and the engine's). */
export function healthRoutes({ engine, observer, feed, gate, metrics, now, closing, log }: AppDeps): FastifyPluginAsyncTypebox {
  const isSettled = (name: string) => {
    const state = feed.adapter(name)?.state;
    return state === undefined || state === "Serving" || state === "Failed";
  };
  return async (app) => {
    app.get(RUNTIME_PATHS.healthz, async (_request, reply) => reply.type("text/plain").send("ok\n"));

    app.get(RUNTIME_PATHS.ready, async (_request, reply) => {
      const reason = gate.notReady(observer.view, isSettled, now());
      return reply
        .type("text/plain")
        .code(reason === undefined ? 200 : 503)
        .send(`${reason ?? "ok"}\n`);
    });

    app.get(RUNTIME_PATHS.metrics, async (_request, reply) => {
      setGauges(metrics, feed.snapshot().adapters, observer.view.ready);
      const [own, engines] = await Promise.all([
        metrics.registry.metrics(),
        engine.metrics(closing).catch((error: unknown) => {
          log.debug({ error: messageOf(error) }, "the engine gave no metrics in time: only the runtime's own are shown");
          return "";
        }),
      ]);
      return reply.type(metrics.registry.contentType).send(`${own.trimEnd()}\n${engines}`);
    });
  };
}
