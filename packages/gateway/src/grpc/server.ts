import { ConfigError } from "@aibrix/service";
import { Health } from "./health.ts";
import { HeldBytes } from "./held-body.ts";
import { HOLD_LIMITS, type HoldLimits, Holds } from "./holds.ts";
import { RequestStream, type StreamDeps } from "./stream.ts";
import type { GrpcMethods, Listen, TlsFiles, Transport } from "./transport.ts";
import { listenGrpcJs } from "./transports/grpc-js.ts";
import { listenNodeHttp2 } from "./transports/node-http2.ts";
import { listenOwn } from "./transports/own.ts";
import { Watches } from "./watches.ts";

/** The gRPC service that Envoy calls. */
export const EXT_PROC_SERVICE_NAME = "envoy.service.ext_proc.v3.ExternalProcessor";

/** The servers that can be chosen. They do the same. */
export const TRANSPORTS = { own: listenOwn, "node-http2": listenNodeHttp2, "grpc-js": listenGrpcJs } as const satisfies Record<
  string,
  Listen
>;
export type TransportName = keyof typeof TRANSPORTS;
/** Those that serve TLS too. */
export const TLS_TRANSPORTS: readonly TransportName[] = ["node-http2", "grpc-js"];
/** The one that follows a certificate that changes. */
export const DEFAULT_TLS_TRANSPORT: TransportName = "node-http2";
/** The one that costs least, and that fails no call when it ends. */
export const DEFAULT_TRANSPORT: TransportName = "own";

/** What bodies may have of memory together that Envoy sends in pieces without keeping them: a quarter of what the pod may have. */
const HELD_BYTES = 256 * 1024 * 1024;

/** Before the end of a drain, requests that are held are answered, in milliseconds. */
const ANSWER_MS = 1_000;

/** Where and how the gateway serves. */
export interface GrpcOptions {
  readonly host: string;
  readonly port: number;
  readonly transport: TransportName;
  /** Cleartext where it is undefined. */
  readonly tls: TlsFiles | undefined;
}

/** A gRPC server that listens. */
export interface GrpcServer extends Transport {
  readonly health: Health;
  /** Requests that wait for an engine that swaps its adapter's content. */
  readonly held: () => number;
}

/** What a test sets. */
export interface ServerLimits {
  readonly heldBytes?: number;
  readonly holdLimits?: HoldLimits;
}

/**
 * Serves ext_proc and health.
 *
 * @throws {@link ConfigError} where the address cannot be listened on, or a certificate cannot be read
 */
export async function listen(
  options: GrpcOptions,
  deps: StreamDeps,
  { heldBytes = HELD_BYTES, holdLimits = HOLD_LIMITS }: ServerLimits = {},
): Promise<GrpcServer> {
  const health = new Health(EXT_PROC_SERVICE_NAME);
  const shared = { bodies: new HeldBytes(heldBytes), watches: new Watches(), holds: new Holds(holdLimits) };
  const methods: GrpcMethods = new Map([
    [`/${EXT_PROC_SERVICE_NAME}/Process`, (stream) => new RequestStream(stream, deps, shared)],
    ...health.methods,
  ]);
  const transport = await open(options, methods);
  return {
    port: transport.port,
    health,
    held: () => shared.holds.size,
    openStreams: () => transport.openStreams() - shared.watches.size,
    drain: async (timeoutMs) => {
      health.close();
      shared.watches.close();
      // With time left for the answer.
      shared.holds.shorten(deps.now() + timeoutMs - ANSWER_MS);
      return await transport.drain(timeoutMs);
    },
  };
}

async function open(options: GrpcOptions, methods: GrpcMethods): Promise<Transport> {
  try {
    return await TRANSPORTS[options.transport](options, methods);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`--grpc-bind-address: cannot listen on ${options.host}:${options.port}: ${(error as Error).message}`);
  }
}
