import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { envoy, grpc } from "#proto";
import { EXT_PROC_SERVICE_NAME, TRANSPORTS } from "../src/grpc/server.ts";
import { GATEWAY_PROGRAM } from "./support/data-path.ts";
import { freePorts } from "./support/ports.ts";
import { startProgram } from "./support/process.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const { ProcessingRequest, ProcessingResponse } = envoy.service.ext_proc.v3;
const { HealthCheckRequest, HealthCheckResponse } = grpc.health.v1;
const [SERVING, NOT_SERVING] = [1, 2];

test.each(Object.keys(TRANSPORTS))("at SIGTERM %s says that it is not ready while a request is still being answered", async (transport) => {
  const dir = await mkdtemp(join(tmpdir(), "aibrix-gateway-"));
  const engine = await new StandInEngine("a", ["base"]).start();
  const file = join(dir, "endpoints.yaml");
  await writeFile(file, JSON.stringify({ engines: [{ engine: engine.url }] }));
  const [grpcPort = 0, metricsPort = 0] = await freePorts(2);
  const readyz = async (): Promise<number> => (await fetch(`http://127.0.0.1:${metricsPort}/readyz`)).status;
  const args = [
    GATEWAY_PROGRAM,
    `--endpoints-config=${file}`,
    `--grpc-transport=${transport}`,
    `--grpc-bind-address=127.0.0.1:${grpcPort}`,
    `--metrics-bind-address=127.0.0.1:${metricsPort}`,
  ];
  const program = await startProgram(process.execPath, args, async () => (await readyz()) === 200);
  const client = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
  onTestFinished(async () => {
    client.close();
    await program.stop();
    await engine.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const health: unknown[] = [];
  const watch = client.makeServerStreamRequest(
    "/grpc.health.v1.Health/Watch",
    (asked: grpc.health.v1.HealthCheckRequest.$Properties) => Buffer.from(HealthCheckRequest.encode(asked).finish()),
    (bytes) => HealthCheckResponse.decode(bytes),
    { service: EXT_PROC_SERVICE_NAME },
  );
  watch.on("error", () => undefined).on("data", ({ status }: { readonly status?: unknown }) => health.push(status));
  await until("it is serving", () => health.at(-1) === SERVING);

  const answers: (string | undefined)[] = [];
  const call: ClientDuplexStream<envoy.service.ext_proc.v3.ProcessingRequest.$Properties, envoy.service.ext_proc.v3.ProcessingResponse> =
    client.makeBidiStreamRequest(
      `/${EXT_PROC_SERVICE_NAME}/Process`,
      (request) => Buffer.from(ProcessingRequest.encode(request).finish()),
      (bytes) => ProcessingResponse.decode(bytes),
    );
  call.on("error", () => undefined).on("data", ({ response }) => answers.push(response));
  const headers = Object.entries({ ":method": "POST", ":path": "/v1/completions" }).map(([key, value]) => ({ key, value }));
  call.write({ requestHeaders: { headers: { headers } } });
  await until("the headers are answered", () => answers.length === 1);

  program.child.kill("SIGTERM");
  await until("it says so to who asks, and to who watches", async () => (await readyz()) === 503 && health.at(-1) === NOT_SERVING);
  expect(program.child.exitCode).toBeNull();
  call.write({ requestBody: { body: Buffer.from('{"model":"base"}'), endOfStream: true } });
  await until("the request is decided", () => answers.length === 2);
  expect(answers).toEqual(["requestHeaders", "requestBody"]);
  call.end();
  // A second signal would end it at once.
  await until("it ends", () => program.child.exitCode !== null);
  expect(program.child.exitCode).toBe(0);
  expect(program.output()).toContain('"clean":true');
});
