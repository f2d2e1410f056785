import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as immediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { TRANSPORTS } from "../src/grpc/server.ts";
import { type DataPath, GATEWAY_PROGRAM, startDataPath } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { freePorts } from "./support/ports.ts";
import { startProgram } from "./support/process.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

describe("behind Envoy", () => {
  let a: StandInEngine;
  let b: StandInEngine;
  let runtime: FakeRuntime;
  let path: DataPath;

  beforeAll(async () => {
    a = await new StandInEngine("a", ["base", "lora"]).start();
    b = await new StandInEngine("b", ["second"]).start();
    runtime = await new FakeRuntime(a.url, ["base"]).start();
    runtime.setAdapter("lora");
    path = await startDataPath([a, b], [{ engine: a.url, runtime: runtime.url }]);
  });

  afterAll(async () => {
    await path?.stop();
    await Promise.all([runtime?.stop(), a?.stop(), b?.stop()]);
  });

  test("a changed endpoints file is taken over; a broken one is told and changes nothing", async () => {
    expect((await path.complete("second")).status).toBe(404);
    const entries = [{ engine: a.url, runtime: runtime.url }, { engine: b.url }];
    const before = runtime.connections;
    await path.writeEndpoints(entries);
    await until("the new engine serves", async () => (await path.complete("second")).status === 200);
    expect(runtime.connections).toBe(before); // What has not changed is not disturbed.

    await writeFile(path.endpointsFile, "engines: [{engine: ftp://x}]");
    await until("it is told", () => path.gateway().output().includes("engines[0].engine: write http://HOST:PORT"));
    expect((await path.complete("second")).status).toBe(200);

    await path.writeEndpoints([{ engine: a.url, runtime: runtime.url }]);
    await until("the engine is gone", async () => (await path.complete("second")).status === 404);
  });

  test("SIGTERM ends the gateway with 0, running answers go on, and Envoy says 503 until a gateway is back", async () => {
    let finish: () => void = () => undefined;
    a.handler = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
      finish = () => response.end("data: 2\n\n");
    };
    const answer = await fetch(`${path.url}/v1/completions`, { method: "POST", body: '{"model":"lora"}' });
    a.handler = undefined;

    expect(await path.gateway().stop()).toBe(0);
    expect(path.gateway().output()).toContain('"clean":true');
    const refused = await path.complete("lora");
    expect([refused.status, refused.json.error.code]).toEqual([503, "gateway_unavailable"]);
    expect(refused.headers["retry-after"]).toBe("2");

    finish();
    expect(await answer.text()).toBe("data: 1\n\ndata: 2\n\n");
    await path.startGateway();
    await until("it serves again", async () => (await path.complete("lora")).status === 200);
  });
});

describe("the program", () => {
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "aibrix-gateway-"));
  });

  afterAll(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  test("--help names every flag", () => {
    const { status, stdout } = spawnSync(process.execPath, [GATEWAY_PROGRAM, "--help"], { encoding: "utf8" });
    expect(status).toBe(0);
    for (const flag of [
      "--grpc-bind-address",
      "--grpc-transport",
      "--grpc-tls-cert-file",
      "--metrics-bind-address",
      "--endpoints-config",
      "--kubeconfig",
      "--namespace",
    ]) {
      expect(stdout).toContain(flag);
    }
  });

  test.each([
    { name: "neither an endpoints file nor a cluster", args: [], want: "neither an endpoints file nor a cluster" },
    { name: "a kubeconfig that does not exist", args: ["--kubeconfig=/nowhere.config"], want: "/nowhere.config" },
    { name: "a file and a cluster", args: ["--endpoints-config=x", "--kubeconfig=y"], want: "--endpoints-config and --kubeconfig" },
    { name: "an endpoints file that does not exist", args: ["--endpoints-config=/nowhere.yaml"], want: "/nowhere.yaml" },
    { name: "an unknown transport", args: ["--endpoints-config=x", "--grpc-transport=quic"], want: "--grpc-transport=quic: write" },
    { name: "a certificate without key", args: ["--endpoints-config=x", "--grpc-tls-cert-file=c"], want: "TLS needs both" },
    { name: "an unknown flag", args: ["--port=1"], want: "--port" },
    { name: "a bad address", args: ["--endpoints-config=x", "--grpc-bind-address=nonsense"], want: "--grpc-bind-address=nonsense" },
  ])("$name ends it with 2 and a message", ({ args, want }) => {
    // Without the cluster that whoever runs the tests may have.
    const env = { PATH: process.env.PATH, HOME: dir };
    const { status, stderr } = spawnSync(process.execPath, [GATEWAY_PROGRAM, ...args], { encoding: "utf8", env });
    expect(status).toBe(2);
    expect(stderr).toContain(want);
  });

  test("a bad field ends it with 2 and the field's name", async () => {
    const file = join(dir, "bad.yaml");
    await writeFile(file, "engines:\n- engine: http://127.0.0.1:1\n  runtimes: http://x:1\n");
    const { status, stderr } = spawnSync(process.execPath, [GATEWAY_PROGRAM, `--endpoints-config=${file}`], { encoding: "utf8" });
    expect(status).toBe(2);
    expect(stderr).toContain(`${file}: engines[0]`);
    expect(stderr).toContain("runtimes");
  });

  test("a port that is taken ends it with 2", async () => {
    const engine = await new StandInEngine("x", []).start();
    const file = join(dir, "ok.yaml");
    await writeFile(file, "engines: []\n");
    const args = [GATEWAY_PROGRAM, `--endpoints-config=${file}`, `--grpc-bind-address=127.0.0.1:${engine.port}`];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 20_000 });
    await engine.stop();
    expect(status).toBe(2);
    expect(stderr).toContain("--grpc-bind-address");
  });

  test.each(Object.keys(TRANSPORTS))(
    "one connection to %s may see far more stream resets than Node allows by itself",
    async (transport) => {
      const [grpcPort = 0, metricsPort = 0] = await freePorts(2);
      const file = join(dir, "none.yaml");
      await writeFile(file, "engines: []\n");
      const program = await startProgram(
        process.execPath,
        [
          GATEWAY_PROGRAM,
          `--endpoints-config=${file}`,
          `--grpc-transport=${transport}`,
          `--grpc-bind-address=127.0.0.1:${grpcPort}`,
          `--metrics-bind-address=127.0.0.1:${metricsPort}`,
        ],
        (output) => output.includes("listening"),
      );
      onTestFinished(async () => {
        await program.stop();
      });
      const session = connect(`http://127.0.0.1:${grpcPort}`);
      const goaway = new Promise<never>((_, reject) => {
        session.on("goaway", (code) => reject(new Error(`GOAWAY ${code}`)));
        session.on("error", reject);
        session.on("close", () => reject(new Error("closed")));
      });
      const resets = async (): Promise<string> => {
        for (let i = 0; i < 3_000; i++) {
          const stream = session.request({
            ":method": "POST",
            ":path": "/envoy.service.ext_proc.v3.ExternalProcessor/Process",
            "content-type": "application/grpc",
            te: "trailers",
          });
          stream.on("error", () => undefined).resume();
          await immediate(); // Else the request is withdrawn before it is sent.
          stream.close(8);
        }
        await new Promise((resolve) => session.ping(() => resolve(undefined)));
        return "open";
      };
      expect(await Promise.race([resets(), goaway])).toBe("open");
      session.destroy();
      expect(await program.stop()).toBe(0);
    },
  );
});
