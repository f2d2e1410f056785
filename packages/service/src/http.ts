import Fastify, { type FastifyInstance } from "fastify";
import type { Registry } from "prom-client";

/** What a program shows of itself on its side port. */
export interface SideServer {
  readonly metrics: Registry;
  /** Why the program is not ready, or `undefined` when it is. */
  readonly notReady: () => string | undefined;
}

/** `/healthz`, `/readyz` (and `/ready`) and `/metrics`, apart from listening. */
export function sideServer({ metrics, notReady }: SideServer): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true });
  app.get("/healthz", async () => "ok\n");
  for (const path of ["/readyz", "/ready"]) {
    app.get(path, async (_request, reply) => {
      const reason = notReady();
      return reason === undefined ? "ok\n" : reply.code(503).send(`${reason}\n`);
    });
  }
  app.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()));
  return app;
}
