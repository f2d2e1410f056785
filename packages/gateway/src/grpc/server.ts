import { ConfigError } from "@aibrix/service";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Message } from "../phases/types.ts";
import { Health } from "./health.ts";
import { EXT_PROC_SERVICE, HEALTH_SERVICE } from "./service.ts";
import { type StreamDeps, serveStream } from "./stream.ts";

/** Above what Envoy buffers (32 MiB): a body that Envoy takes never fails here; gRPC's default is 4 MiB. */
const MAX_MESSAGE_BYTES = 48 * 1024 * 1024;

/** Bytes that Envoy may send of a body before it waits for this process to read; HTTP/2's default of 64 KiB makes large bodies slow. */
const FLOW_CONTROL_WINDOW_BYTES = 4 * 1024 * 1024;

/**
 * Stream resets that one connection may see at once, and per second. An Envoy that is not told otherwise ends every ext_proc stream with
 * RST_STREAM, and Node closes a connection after 1,000 of them (then 33 a second), failing the requests that are under way on it.
 */
const STREAM_RESETS = { streamResetBurst: 1_000_000, streamResetRate: 100_000 };

/**
 * Lets a connection see {@link STREAM_RESETS}. grpc-js has no option for it, so it goes into the options that it hands to
 * `http2.createServer`; a test sees to it that they still arrive.
 */
function allowStreamResets(server: Server): void {
  const { commonServerOptions } = server as unknown as { readonly commonServerOptions?: object };
  if (commonServerOptions !== undefined) Object.assign(commonServerOptions, STREAM_RESETS);
}

/** A gRPC server that listens. */
export interface GrpcServer {
  readonly port: number;
  readonly health: Health;
  /**
   * Takes no more connections or streams, lets what runs end for at most `timeoutMs` milliseconds, then cuts.
   *
   * @returns whether all ended by itself
   */
  drain(timeoutMs: number): Promise<boolean>;
}

/**
 * Serves ext_proc and health over cleartext HTTP/2.
 *
 * @throws {@link ConfigError} where the address cannot be listened on
 */
export async function listen(address: { readonly host: string; readonly port: number }, deps: StreamDeps): Promise<GrpcServer> {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc-node.flow_control_window": FLOW_CONTROL_WINDOW_BYTES,
  });
  allowStreamResets(server);
  const health = new Health();
  server.addService(EXT_PROC_SERVICE, { process: (call: ServerDuplexStream<Message, Buffer>) => serveStream(call, deps) });
  server.addService(HEALTH_SERVICE, health.service);
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${address.port}`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null
        ? resolve(bound)
        : reject(new ConfigError(`--grpc-bind-address: cannot listen on ${host}:${address.port}: ${error.message}`)),
    );
  });
  return {
    port,
    health,
    drain: async (timeoutMs) => {
      health.close();
      return await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => {
          server.forceShutdown();
          resolve(false);
        }, timeoutMs);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve(true);
        });
      });
    },
  };
}
