import { once } from "node:events";
import {
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createServer as createTlsServer } from "node:tls";
import { MessageReader, PREFIX_BYTES, writePrefix } from "../framing.ts";
import { escapeDetails, GRPC_STATUS, type GrpcStatus } from "../status.ts";
import { followTls, readTls } from "../tls.ts";
import {
  type GrpcHandler,
  type GrpcMethods,
  type GrpcStream,
  type ListenOptions,
  MAX_HEADER_LIST_BYTES,
  MAX_STREAMS,
  type TlsFiles,
  type Transport,
  WINDOW_BYTES,
} from "../transport.ts";
import { overTls } from "./over-tls.ts";
import { STREAM_RESETS } from "./stream-resets.ts";

/** How long a client may take to acknowledge that the server ends, in milliseconds; then it counts as told. */
const NOTICE_MS = 1_000;

/** A whole GOAWAY frame: no error, and no stream is too late. */
const NOTICE = Buffer.from([0, 0, 8, 0x07, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/** The types of Node 24 do not know the limits on resets yet. */
const OPTIONS = {
  ...STREAM_RESETS,
  maxSessionMemory: 1024,
  settings: { initialWindowSize: WINDOW_BYTES, maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_LIST_BYTES },
} as const;

/**
 * Node's own HTTP/2 with gRPC on top, written by hand; in the clear or with TLS.
 *
 * @param lookMs - how often the certificate's files are looked at; a test sets it
 */
export async function listenNodeHttp2({ host, port, tls }: ListenOptions, methods: GrpcMethods, lookMs?: number): Promise<Transport> {
  const sessions = new Map<ServerHttp2Session, Duplex>();
  const streams = new Set<ServerHttp2Stream>();
  const take = (connection: Duplex): void => {
    const session = performServerHandshake(connection, OPTIONS);
    sessions.set(session, connection);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => undefined); // The session ends by itself; there is nobody to tell.
    session.setLocalWindowSize(WINDOW_BYTES);
    session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      streams.add(stream);
      stream.on("close", () => streams.delete(stream));
      serve(stream, headers, methods);
    });
  };
  const { server, stopFollowing } = open(tls, lookMs, take);
  server.listen({ host, port });
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    openStreams: () => streams.size,
    drain: async (timeoutMs) => {
      stopFollowing();
      const ended = new Promise<boolean>((resolve) => server.close(() => resolve(true)));
      const cut = AbortSignal.timeout(timeoutMs);
      const late = new Promise<boolean>((resolve) => cut.addEventListener("abort", () => resolve(false), { once: true }));
      await Promise.race([late, Promise.all([...sessions].map(tellEnd))]);
      const clean = await Promise.race([ended, late]);
      for (const session of sessions.keys()) session.destroy();
      return clean;
    },
  };
}

/** What accepts connections. */
interface Acceptor {
  readonly server: Server;
  readonly stopFollowing: () => void;
}

function open(tls: TlsFiles | undefined, lookMs: number | undefined, take: (connection: Duplex) => void): Acceptor {
  if (tls === undefined) return { server: createServer({ noDelay: true }, take), stopFollowing: () => undefined };
  const clients = tls.clientCaFile === undefined ? {} : { requestCert: true, rejectUnauthorized: true };
  const server = createTlsServer({ ...readTls(tls), ...clients, ALPNProtocols: ["h2"], noDelay: true }, (socket) => {
    socket.on("error", () => undefined); // "close" follows.
    if (socket.alpnProtocol === "h2") take(overTls(socket));
    else socket.destroy();
  });
  server.on("tlsClientError", (_error, socket: Socket) => socket.destroy());
  return { server, stopFollowing: followTls(tls, (context) => server.setSecureContext(context), lookMs) };
}

/**
 * Ends a session in two steps: first the client is asked to open no more calls, and once it has heard that it is told which stream was the
 * last. Node's own GOAWAY does not serve for the first step: after it, whatever stream it names, nghttp2 ignores each new call, and those that
 * the client had sent before it heard fail. So the frame is written beside the session, which is sound since a session writes whole frames.
 */
async function tellEnd([session, connection]: readonly [ServerHttp2Session, Duplex]): Promise<void> {
  if (session.destroyed || session.closed) return;
  connection.write(NOTICE);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, NOTICE_MS);
    const heard = (): void => {
      clearTimeout(timer);
      resolve();
    };
    session.once("close", heard);
    session.ping(heard);
  });
  if (!session.destroyed) session.close();
}

const ANSWER = { ":status": 200, "content-type": "application/grpc" } as const;

function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, methods: GrpcMethods): void {
  stream.on("error", () => undefined); // "close" follows.
  if (!isGrpc(headers)) {
    stream.respond({ ":status": 415 }, { endStream: true });
    stream.resume();
    return;
  }
  const method = methods.get(headers[":path"] ?? "");
  if (method === undefined) {
    stream.respond({ ...ANSWER, ...trailers(GRPC_STATUS.UNIMPLEMENTED, "this server has no such method") }, { endStream: true });
    stream.resume();
    return;
  }
  new Call(stream, method).start();
}

/** Whether a request is a gRPC call. */
function isGrpc(headers: IncomingHttpHeaders): boolean {
  return headers[":method"] === "POST" && /^application\/grpc(?:[+;]|$)/.test(headers["content-type"] ?? "");
}

function trailers(status: GrpcStatus, details: string): OutgoingHttpHeaders {
  return { "grpc-status": String(status), ...(details === "" ? {} : { "grpc-message": escapeDetails(details) }) };
}

/** One call. */
class Call implements GrpcStream {
  readonly #stream: ServerHttp2Stream;
  readonly #handler: GrpcHandler;
  readonly #reader: MessageReader;
  /** Messages that came while the handler had paused. */
  readonly #held: Buffer[] = [];
  #paused = false;
  #halfClosed = false;
  #ended = false;

  constructor(stream: ServerHttp2Stream, method: (stream: GrpcStream) => GrpcHandler) {
    this.#stream = stream;
    this.#handler = method(this);
    this.#reader = new MessageReader((message) => this.#deliver(message));
  }

  start(): void {
    const stream = this.#stream;
    stream.on("data", (chunk: Buffer) => {
      if (this.#ended) return;
      const error = this.#reader.push(chunk);
      if (error !== undefined) this.end(error.status, error.details);
    });
    stream.on("end", () => {
      this.#halfClosed = true;
      this.#tellEnd();
    });
    stream.on("drain", () => {
      if (!this.#ended) this.#handler.onDrain?.();
    });
    stream.on("close", () => {
      this.#ended = true;
      this.#handler.onClosed();
    });
  }

  write(message: Uint8Array): boolean {
    const stream = this.#stream;
    if (this.#ended || stream.destroyed) return true;
    if (!stream.headersSent) stream.respond(ANSWER, { waitForTrailers: true });
    const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
    writePrefix(framed, 0, message.length);
    framed.set(message, PREFIX_BYTES);
    return stream.write(framed);
  }

  end(status: GrpcStatus, details = ""): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#held.length = 0;
    const stream = this.#stream;
    stream.resume(); // What still comes is thrown away; unread, it would keep the stream open.
    if (stream.destroyed) return;
    if (!stream.headersSent) {
      stream.respond({ ...ANSWER, ...trailers(status, details) }, { endStream: true });
      return;
    }
    stream.once("wantTrailers", () => stream.sendTrailers(trailers(status, details)));
    stream.end();
  }

  pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#paused = false;
    for (let message = this.#next(); message !== undefined; message = this.#next()) this.#handler.onMessage(message);
    this.#tellEnd();
    if (!this.#paused) this.#stream.resume();
  }

  #next(): Buffer | undefined {
    return this.#paused || this.#ended ? undefined : this.#held.shift();
  }

  #deliver(message: Buffer): void {
    if (this.#paused) this.#held.push(message);
    else if (!this.#ended) this.#handler.onMessage(message);
  }

  #tellEnd(): void {
    if (!this.#halfClosed || this.#paused || this.#ended || this.#held.length > 0) return;
    if (this.#reader.pending > 0) this.end(GRPC_STATUS.INTERNAL, "the call ended in the middle of a message");
    else this.#handler.onEnd();
  }
}
