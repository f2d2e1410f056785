import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { afterEach, describe, expect, test } from "vitest";
import { authority, envoyTls, forServer } from "../support/certificates.ts";
import { GATEWAY_PROGRAM, startEnvoyPath } from "../support/data-path.ts";
import { freePorts } from "../support/ports.ts";
import { type Program, startProgram } from "../support/process.ts";
import { StandInEngine } from "../support/stand-in-engine.ts";
import { until } from "../support/wait.ts";

/** How often the gateway is replaced. */
const ROLLS = 4;
const CONCURRENCY = 16;

const cleanUps: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** What a Service of Kubernetes does: a new connection goes to the pod that is ready, one that is open stays where it is. */
async function startService(): Promise<{ readonly port: number; target: number }> {
  const sockets = new Set<Socket>();
  const service = { port: 0, target: 0 };
  const server: Server = createServer((from) => {
    const to = connect(service.target, "127.0.0.1");
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy()).on("close", () => sockets.delete(socket));
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  service.port = (server.address() as { readonly port: number }).port;
  cleanUps.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return service;
}

async function makeTls(dir: string): Promise<{ readonly flags: readonly string[]; readonly transportSocket: object }> {
  const signal = AbortSignal.timeout(60_000);
  const ca = await authority(dir, signal);
  const { cert, key } = await forServer(ca, "gateway", signal);
  const flags = [`--grpc-tls-cert-file=${cert}`, `--grpc-tls-key-file=${key}`];
  return { flags, transportSocket: envoyTls(ca.certFile, []) };
}

// Not grpc-js: it can only end a connection in one step, which fails the calls that its client has already sent.
const SERVERS = [
  { name: "own", transport: "own", secure: false },
  { name: "node-http2", transport: "node-http2", secure: false },
  { name: "node-http2 with TLS", transport: "node-http2", secure: true },
] as const;

/** Gateways behind a Service, an Envoy in front of them, and clients. */
interface Rig {
  /** Starts a gateway, to which new connections go from now on. */
  readonly next: () => Promise<Program>;
  readonly stat: (name: string) => Promise<number>;
  readonly served: () => number;
  readonly failures: readonly string[];
  /** Lets clients send requests all the time until the returned function is called. */
  readonly load: () => () => Promise<void>;
}

async function startRig(transport: string, secure: boolean): Promise<Rig> {
  const engine = await new StandInEngine("a", ["base"]).start();
  cleanUps.push(() => engine.stop());
  const dir = await mkdtemp(join(tmpdir(), "aibrix-gateway-"));
  cleanUps.push(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, "endpoints.yaml");
  await writeFile(file, `engines: [{ engine: "${engine.url}" }]\n`);
  const service = await startService();
  const { flags: tlsFlags, transportSocket } = secure ? await makeTls(dir) : { flags: [], transportSocket: undefined };
  const next = async (): Promise<Program> => {
    const [port = 0, metricsPort = 0] = await freePorts(2);
    const flags = [`--grpc-bind-address=127.0.0.1:${port}`, `--metrics-bind-address=127.0.0.1:${metricsPort}`];
    const program = await startProgram(
      process.execPath,
      [GATEWAY_PROGRAM, ...flags, `--endpoints-config=${file}`, `--grpc-transport=${transport}`, ...tlsFlags],
      async () => (await fetch(`http://127.0.0.1:${metricsPort}/readyz`)).ok,
    );
    cleanUps.push(program.stop);
    service.target = port;
    return program;
  };
  const path = await startEnvoyPath([engine], service.port, transportSocket);
  cleanUps.push(path.stop);
  const pool = new Pool(path.url, { connections: CONCURRENCY });
  cleanUps.push(() => pool.destroy());
  const failures: string[] = [];
  let served = 0;
  const load = (): (() => Promise<void>) => {
    let goOn = true;
    const worker = async (): Promise<void> => {
      while (goOn) {
        const answer = await pool.request({ method: "POST", path: "/v1/completions", body: '{"model":"base"}' });
        const text = await answer.body.text();
        if (answer.statusCode === 200) served += 1;
        else failures.push(`${answer.statusCode} ${text}`);
      }
    };
    const all = Promise.all(Array.from({ length: CONCURRENCY }, worker));
    return async () => {
      goOn = false;
      await all;
    };
  };
  return { next, stat: path.stat, served: () => served, failures, load };
}

async function flows(rig: Rig): Promise<void> {
  const before = rig.served();
  await until("requests flow", () => rig.served() > before + 200);
}

describe.each(SERVERS)("$name", ({ transport, secure }) => {
  test("a gateway is replaced under load, and no request fails", { timeout: 180_000 }, async () => {
    const rig = await startRig(transport, secure);
    let gateway = await rig.next();
    const stop = rig.load();
    for (let i = 0; i < ROLLS; i++) {
      await flows(rig);
      const next = await rig.next();
      expect(await gateway.stop()).toBe(0);
      expect(gateway.output()).toContain('"clean":true');
      gateway = next;
    }
    await flows(rig);
    await stop();
    expect(rig.failures).toEqual([]);
    expect(await rig.stat("cluster.ext_proc.upstream_cx_total")).toBeGreaterThan(ROLLS);
  });
});

test("of two gateways one is killed under load: what it was deciding fails, and nothing else", { timeout: 180_000 }, async () => {
  const rig = await startRig("own", false);
  const killed = await rig.next();
  const stop = rig.load();
  await flows(rig);
  await rig.next();
  killed.child.kill("SIGKILL");
  await flows(rig);
  await stop();
  expect(rig.failures.length).toBeLessThanOrEqual(CONCURRENCY);
  for (const failure of rig.failures) expect(failure).toMatch(/^503 .*"gateway_unavailable"/);
});
