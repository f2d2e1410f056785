import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { Connection } from "../http2/connection.ts";
import { LIMITS, type Limits } from "../http2/limits.ts";
import { type GrpcMethods, type ListenOptions, MAX_STREAMS, type Transport } from "../transport.ts";

/** How often connections are looked at for what takes too long, in milliseconds. */
const SWEEP_MS = 1_000;

/** TCP asks a silent peer after this time whether it is there, in milliseconds. */
const KEEP_ALIVE_MS = 60_000;

/** What a test sets. */
export interface OwnOptions {
  readonly limits?: Limits;
  readonly maxStreams?: number;
  readonly sweepMs?: number;
}

/**
 * A small server of HTTP/2 for gRPC, in the clear. What it does not need it does not have: no push, no priorities, no table of headers
 * that it writes. A `grpc-timeout` is ignored: the client ends its call when that is over.
 */
export async function listenOwn({ host, port }: ListenOptions, methods: GrpcMethods, options: OwnOptions = {}): Promise<Transport> {
  const { limits = LIMITS, maxStreams = MAX_STREAMS, sweepMs = SWEEP_MS } = options;
  const deps = { methods, limits, maxStreams, pending: { bytes: 0 }, now: () => performance.now() };
  const connections = new Set<Connection>();
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) => {
    const connection = new Connection(socket, deps);
    connections.add(connection);
    socket.on("close", () => connections.delete(connection));
  });
  server.listen({ host, port });
  await once(server, "listening");
  const sweep = setInterval(() => {
    for (const connection of connections) connection.sweep();
  }, sweepMs);
  sweep.unref();
  return {
    port: (server.address() as AddressInfo).port,
    openStreams: () => {
      let open = 0;
      for (const connection of connections) open += connection.openCalls;
      return open;
    },
    drain: async (timeoutMs) => {
      for (const connection of connections) connection.drain();
      const clean = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), timeoutMs);
        server.close(() => {
          clearTimeout(timer);
          resolve(true);
        });
      });
      clearInterval(sweep);
      for (const connection of connections) connection.destroy();
      return clean;
    },
  };
}
