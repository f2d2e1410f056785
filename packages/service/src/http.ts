import Fastify, { type FastifyInstance } from "fastify";
import type { Registry } from "prom-client";

/** What a program shows of itself on its side port. */
export interface SideServer {
  readonly metrics: Registry;
  /** Why the program is not ready, or `undefined` when it is. */
  readonly notReady: () => string | undefined;
  /** Why the program should be started anew, or `undefined` where it should not. Absent: it lives as long as it answers. */
  readonly notAlive?: () => string | undefined;
}

/** `/healthz`, `/readyz` (and `/ready`) and `/metrics`, apart from listening. */
export function sideServer({ metrics, notReady, notAlive = () => undefined }: SideServer): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true });
  for (const [path, trouble] of [
    ["/healthz", notAlive],
    ["/readyz", notReady],
    ["/ready", notReady],
  ] as const) {
    app.get(path, async (_request, reply) => {
      const reason = trouble();
      return reason === undefined ? "ok\n" : reply.code(503).send(`${reason}\n`);
    });
  }
  app.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()));
  return app;
}
