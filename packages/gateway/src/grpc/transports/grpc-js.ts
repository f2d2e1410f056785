import { Server, ServerCredentials, type ServerDuplexStream, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { GRPC_STATUS } from "../status.ts";
import { readTls } from "../tls.ts";
import {
  type GrpcHandler,
  type GrpcMethods,
  type GrpcStream,
  type Listen,
  MAX_HEADER_LIST_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_STREAMS,
  type TlsFiles,
  WINDOW_BYTES,
} from "../transport.ts";
import { STREAM_RESETS } from "./stream-resets.ts";

type Call = ServerDuplexStream<Buffer, Uint8Array>;

/** gRPC's own server for Node: the reference. */
export const listenGrpcJs: Listen = async ({ host, port, tls }, methods) => {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_concurrent_streams": MAX_STREAMS,
    "grpc.max_metadata_size": MAX_HEADER_LIST_BYTES,
    "grpc-node.flow_control_window": WINDOW_BYTES,
  });
  allowStreamResets(server);
  let open = 0;
  addMethods(server, methods, (change) => {
    open += change;
  });
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, serverCredentials(tls), (error, at) => (error === null ? resolve(at) : reject(error)));
  });
  return {
    port: bound,
    openStreams: () => open,
    drain: async (timeoutMs) =>
      await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => {
          server.forceShutdown();
          resolve(false);
        }, timeoutMs);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve(true);
        });
      }),
  };
};

/** grpc-js has no option for it, so it goes into those that it hands to `http2.createServer`; a test sees to it that they still arrive. */
function allowStreamResets(server: Server): void {
  const { commonServerOptions } = server as unknown as { readonly commonServerOptions?: object };
  if (commonServerOptions !== undefined) Object.assign(commonServerOptions, STREAM_RESETS);
}

/** A certificate is read once: grpc-js can follow files only with an interface that it calls experimental. */
function serverCredentials(tls: TlsFiles | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { cert, key, ca } = readTls(tls);
  return ServerCredentials.createSsl(ca ?? null, [{ cert_chain: cert, private_key: key }], ca !== undefined);
}

/** Every method is served as a two-way stream of bytes: on the wire one message is a stream of one. */
function addMethods(server: Server, methods: GrpcMethods, count: (change: 1 | -1) => void): void {
  const asIs = (bytes: Uint8Array): Buffer => bytes as Buffer;
  const stream = { requestStream: true, responseStream: true, requestSerialize: asIs, responseSerialize: asIs } as const;
  for (const [path, method] of methods) {
    const definition = { method: { path, ...stream, requestDeserialize: asIs, responseDeserialize: asIs } };
    const implementation: UntypedServiceImplementation = { method: (call: Call) => serve(call, method, count) };
    server.addService(definition, implementation);
  }
}

function serve(call: Call, method: (stream: GrpcStream) => GrpcHandler, count: (change: 1 | -1) => void): void {
  let ended = false;
  let closed = false;
  const handler = method({
    write: (message) => ended || call.write(message),
    end: (code, details = "") => {
      if (ended) return;
      ended = true;
      if (code === GRPC_STATUS.OK) call.end();
      else call.emit("error", Object.assign(new Error(details), { code, details }));
      call.resume(); // What still comes is thrown away; unread, it would keep the call open.
    },
    pause: () => call.pause(),
    resume: () => call.resume(),
  });
  count(1);
  const onClosed = (): void => {
    if (closed) return;
    closed = ended = true;
    count(-1);
    handler.onClosed();
  };
  call.on("data", (message: Buffer) => {
    if (!ended) handler.onMessage(message);
  });
  call.on("end", () => {
    if (!ended) handler.onEnd();
  });
  call.on("drain", () => {
    if (!ended) handler.onDrain?.();
  });
  call.on("cancelled", onClosed);
  call.on("close", onClosed);
  call.on("error", onClosed);
}
