import type { GrpcStatus } from "./status.ts";

/** One gRPC call as the server sees it, in whole messages. What it is told after {@link GrpcStream.end} has no effect. */
export interface GrpcStream {
  /**
   * Sends one message, without gRPC's prefix. The bytes may not change afterwards.
   *
   * @returns false where the client takes no more for now: what is written all the same waits in memory until {@link GrpcHandler.onDrain}
   */
  write(message: Uint8Array): boolean;
  /** Ends the call. Whoever calls it may still send: nothing of that is delivered. */
  end(status: GrpcStatus, details?: string): void;
  /** Holds messages back; what arrives meanwhile is delivered after {@link GrpcStream.resume}, in order. */
  pause(): void;
  resume(): void;
}

/** What a method does with a call. No function may throw. */
export interface GrpcHandler {
  /** One message, without gRPC's prefix. The bytes do not change afterwards. */
  onMessage(message: Buffer): void;
  /** The client sends no more. */
  onEnd(): void;
  /** What waited is written: after a {@link GrpcStream.write} that gave false there is room again. May come without one, too. */
  onDrain?(): void;
  /** The call is over, however it ended; nothing is called afterwards. */
  onClosed(): void;
}

/** The methods of a server by their path (`/package.Service/Method`). */
export type GrpcMethods = ReadonlyMap<string, (stream: GrpcStream) => GrpcHandler>;

/** Files of a server's certificate. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Clients must have a certificate of one of these authorities. */
  readonly clientCaFile: string | undefined;
}

/** Where a server listens, and how it is secured. */
export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Cleartext where it is absent. */
  readonly tls?: TlsFiles | undefined;
}

/** A server that listens. */
export interface Transport {
  readonly port: number;
  /** Calls that are not over. */
  openStreams(): number;
  /**
   * Takes no more connections, tells every client to open no more calls, lets what runs end for at most `timeoutMs` milliseconds, then cuts.
   *
   * @returns whether all ended by itself
   */
  drain(timeoutMs: number): Promise<boolean>;
}

/**
 * Starts a server.
 *
 * @throws where the address cannot be listened on
 */
export type Listen = (options: ListenOptions, methods: GrpcMethods) => Promise<Transport>;

/** Above what Envoy buffers (32 MiB): a body that Envoy takes never fails here; gRPC's default is 4 MiB. */
export const MAX_MESSAGE_BYTES: number = 48 * 1024 * 1024;

/** Bytes that Envoy may send of a body before it waits for this process to read; HTTP/2's default of 64 KiB makes large bodies slow. */
export const WINDOW_BYTES: number = 4 * 1024 * 1024;

/** Calls that one connection may have open at once; Envoy opens another connection for more. */
export const MAX_STREAMS = 10_000;

/** Bytes that a call's headers may have, as HTTP/2 counts them. */
export const MAX_HEADER_LIST_BYTES: number = 64 * 1024;
