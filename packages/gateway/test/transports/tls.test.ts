import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { type ChannelCredentials, Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { GRPC_STATUS } from "../../src/grpc/status.ts";
import type { GrpcMethods, TlsFiles, Transport } from "../../src/grpc/transport.ts";
import { listenGrpcJs } from "../../src/grpc/transports/grpc-js.ts";
import { listenNodeHttp2 } from "../../src/grpc/transports/node-http2.ts";
import { authority, type CertificateFiles, envoyTls, forClient, forServer } from "../support/certificates.ts";
import { startDataPath } from "../support/data-path.ts";
import { load } from "../support/load.ts";
import { StandInEngine } from "../support/stand-in-engine.ts";
import { until } from "../support/wait.ts";

const LOOK_MS = 50;

let dir: string;
let serverCa: string;
let clientCa: string;
let otherCa: string;
let first: CertificateFiles;
let second: CertificateFiles;
let friend: CertificateFiles;
let stranger: CertificateFiles;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "aibrix-tls-"));
  const signal = AbortSignal.timeout(60_000);
  const [ofServers, ofClients, ofOthers] = [await authority(dir, signal), await authority(dir, signal), await authority(dir, signal)];
  [serverCa, clientCa, otherCa] = [ofServers.certFile, ofClients.certFile, ofOthers.certFile];
  [first, second] = [await forServer(ofServers, "first", signal), await forServer(ofServers, "second", signal)];
  friend = await forClient(ofClients, "envoy", signal);
  stranger = await forClient(ofOthers, "stranger", signal);
});

afterAll(() => rm(dir, { recursive: true, force: true }));

const methods: GrpcMethods = new Map([
  [
    "/t/Echo",
    (stream) => ({
      onMessage: (message) => stream.write(message),
      onEnd: () => stream.end(GRPC_STATUS.OK),
      onClosed: () => undefined,
    }),
  ],
]);

let server: Transport | undefined;
afterEach(async () => {
  await server?.drain(1_000);
  server = undefined;
});

const SERVERS = {
  "node-http2": async (tls: TlsFiles) => await listenNodeHttp2({ host: "127.0.0.1", port: 0, tls }, methods, LOOK_MS),
  "grpc-js": async (tls: TlsFiles) => await listenGrpcJs({ host: "127.0.0.1", port: 0, tls }, methods),
};

/** A server's files at a place of their own, where they can change. */
async function filesOf({ cert, key }: CertificateFiles, clientCaFile?: string): Promise<TlsFiles> {
  const own = await mkdtemp(join(dir, "files-"));
  const files = { certFile: join(own, "tls.crt"), keyFile: join(own, "tls.key"), clientCaFile };
  await copyFile(cert, files.certFile);
  await copyFile(key, files.keyFile);
  return files;
}

async function secured(ca: string, client?: CertificateFiles): Promise<ChannelCredentials> {
  if (client === undefined) return credentials.createSsl(await readFile(ca));
  return credentials.createSsl(await readFile(ca), await readFile(client.key), await readFile(client.cert));
}

/** Calls once over a connection of its own; gives what came back, or the status. */
async function call(port: number, how: ChannelCredentials, size = 1): Promise<number> {
  // Else a client takes the connection of one before it.
  const client = new Client(`localhost:${port}`, how, { "grpc.use_local_subchannel_pool": 1 });
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(
        "/t/Echo",
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        Buffer.alloc(size, "a"),
        { deadline: Date.now() + 5_000 },
        (error: ServiceError | null, bytes?: Buffer) => resolve(error === null ? (bytes?.length ?? 0) : -error.code),
      );
    });
  } finally {
    client.close();
  }
}

/** The name in the certificate that a new connection is shown. */
async function shown(port: number): Promise<string | string[] | undefined> {
  const socket = connect({ port, host: "localhost", ca: await readFile(serverCa), ALPNProtocols: ["h2"] });
  await once(socket, "secureConnect");
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN;
}

describe.each(Object.keys(SERVERS) as (keyof typeof SERVERS)[])("%s", (name) => {
  test("a client that trusts the server's authority is served, also with large messages; others are not", async () => {
    server = await SERVERS[name](await filesOf(first));
    expect(await call(server.port, await secured(serverCa))).toBe(1);
    expect(await call(server.port, await secured(serverCa), 1_000_000)).toBe(1_000_000);
    expect(await call(server.port, await secured(otherCa))).toBe(-status.UNAVAILABLE);
    expect(await call(server.port, credentials.createInsecure())).toBe(-status.UNAVAILABLE);
  });

  test("where clients need a certificate, only one of the right authority serves", async () => {
    server = await SERVERS[name](await filesOf(first, clientCa));
    expect(await call(server.port, await secured(serverCa, friend))).toBe(1);
    expect(await call(server.port, await secured(serverCa))).toBe(-status.UNAVAILABLE);
    expect(await call(server.port, await secured(serverCa, stranger))).toBe(-status.UNAVAILABLE);
    expect(await call(server.port, await secured(serverCa, friend))).toBe(1);
  });
});

test("node-http2 shows a changed certificate to new connections, and still asks for the client's", async () => {
  const files = await filesOf(first, clientCa);
  server = await SERVERS["node-http2"](files);
  const { port } = server;
  const old = new Client(`localhost:${port}`, await secured(serverCa, friend), { "grpc.use_local_subchannel_pool": 1 });
  const asIs = (bytes: Buffer): Buffer => bytes;
  const open = old.makeBidiStreamRequest("/t/Echo", asIs, asIs);
  open.write(Buffer.from("before"));
  await once(open, "data");
  expect(await shown(port)).toBe("first");
  await copyFile(second.cert, files.certFile); // Until the key follows, the two do not fit.
  expect(await shown(port)).toBe("first");
  await copyFile(second.key, files.keyFile);
  await until("the new one is shown", async () => (await shown(port)) === "second");
  expect(await call(port, await secured(serverCa, friend))).toBe(1);
  expect(await call(port, await secured(serverCa))).toBe(-status.UNAVAILABLE);
  open.write(Buffer.from("after"));
  expect(String(((await once(open, "data")) as [Buffer])[0])).toBe("after");
  open.end();
  await once(open, "end");
  old.close();
});

describe.each(Object.keys(SERVERS))("an Envoy with a certificate and %s", (transport) => {
  test("requests are served over one connection, and an Envoy without a certificate is refused", async () => {
    const engine = await new StandInEngine("a", ["base"]).start();
    try {
      const gatewayArgs = [
        `--grpc-transport=${transport}`,
        `--grpc-tls-cert-file=${first.cert}`,
        `--grpc-tls-key-file=${first.key}`,
        `--grpc-tls-client-ca-file=${clientCa}`,
      ];
      const endpoints = [{ engine: engine.url }];
      const path = await startDataPath([engine], endpoints, { gatewayArgs, transportSocket: envoyTls(serverCa, [friend]) });
      try {
        const { failures } = await load(path.url, "/v1/completions", '{"model":"base"}', 2_000, 32);
        expect(Object.fromEntries(failures)).toEqual({});
        expect(await path.stat("cluster.ext_proc.upstream_cx_total")).toBe(1);
        expect(await path.stat("cluster.ext_proc.ssl.handshake")).toBe(1);
      } finally {
        await path.stop();
      }
      const refused = await startDataPath([engine], endpoints, { gatewayArgs, transportSocket: envoyTls(serverCa, []) });
      try {
        expect((await refused.complete("base")).status).toBe(503);
      } finally {
        await refused.stop();
      }
    } finally {
      await engine.stop();
    }
  });
});
