import { createLogger } from "@aibrix/service";
import { Client, credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { grpc } from "#proto";
import { runGateway } from "../src/gateway.ts";
import { DEFAULT_TRANSPORT } from "../src/grpc/server.ts";
import { TestCluster, type TestPod } from "./support/cluster.ts";
import { type EnvoyPath, GATEWAY_PROGRAM, type Reply, startEnvoyPath } from "./support/data-path.ts";
import { freePorts } from "./support/ports.ts";
import { startProgram } from "./support/process.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const READY = { status: "True", reason: "ModelAdapterAvailable" } as const;
const LOADING = { status: "False", reason: "ModelAdapterLoading" } as const;
const { HealthCheckRequest, HealthCheckResponse } = grpc.health.v1;
const { NOT_SERVING, SERVING } = HealthCheckResponse.ServingStatus;
const BASE = { "model.aibrix.ai/name": "base" };

/** A gateway in this process: its pods are API objects, and a table says where their engines really are. */
class InProcess {
  readonly url: string;
  readonly #grpc: Client;
  /** Every address that was named to Envoy. */
  readonly named = new Set<string>();
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  constructor(kubeconfig: string, grpcPort: number, metricsPort: number, engines: ReadonlyMap<string, string>) {
    this.url = `http://127.0.0.1:${metricsPort}`;
    this.#grpc = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
    const host = "127.0.0.1";
    const source = { kind: "kubernetes", kubeconfig, namespace: undefined } as const;
    const reach = (address: string): string => {
      this.named.add(address);
      return engines.get(address) ?? address;
    };
    const options = {
      grpc: { host, port: grpcPort, transport: DEFAULT_TRANSPORT, tls: undefined },
      metrics: { host, port: metricsPort },
      maxModels: 10,
      updateHoldMs: 30_000,
      accessLog: false,
      tracing: undefined,
      source,
    };
    this.#ended = runGateway(options, createLogger("gateway", process.env.TEST_LOG ?? "silent"), this.#stop.signal, { reach });
  }

  async readiness(): Promise<{ readonly status: number; readonly text: string }> {
    const answer = await fetch(`${this.url}/readyz`);
    return { status: answer.status, text: await answer.text() };
  }

  /** What it says by gRPC's health protocol. */
  async health(): Promise<unknown> {
    return await new Promise((resolve, reject) =>
      this.#grpc.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        (r: grpc.health.v1.HealthCheckRequest.$Properties) => Buffer.from(HealthCheckRequest.encode(r).finish()),
        (bytes: Buffer) => HealthCheckResponse.decode(bytes),
        { service: "" },
        (error, value) => (error === null ? resolve(value?.status) : reject(error)),
      ),
    );
  }

  async stop(): Promise<void> {
    this.#grpc.close();
    this.#stop.abort();
    await this.#ended;
  }
}

let cluster: TestCluster;
let a: StandInEngine;
let b: StandInEngine;
let podA: TestPod;
let podB: TestPod;
let gateway: InProcess;
let path: EnvoyPath;

beforeAll(async () => {
  cluster = await TestCluster.start();
  a = await new StandInEngine("a", ["base", "lora", "moved", "shared", "later", "foreign"]).start();
  b = await new StandInEngine("b", ["base", "moved", "shared", "labelled", "after"]).start();
  await cluster.namespace("team");
  podA = await cluster.pod("default", "a", "10.0.0.5", BASE);
  podB = await cluster.pod("team", "b", "10.0.0.6", { "model.aibrix.ai/name": "labelled", "model.aibrix.ai/port": "9000" });
  await cluster.engines(8000, [podA, podB]);
  await cluster.engines(9000, [podB]);
  for (const name of ["lora", "moved"]) await cluster.adapter("default", name, READY);
  await cluster.slice("default", "lora", [podA]);
  await cluster.slice("default", "moved", [podA]);

  const [grpcPort = 0, metricsPort = 0] = await freePorts(2);
  const engines = new Map([
    ["10.0.0.5:8000", `127.0.0.1:${a.port}`],
    ["10.0.0.6:8000", `127.0.0.1:${b.port}`],
    ["10.0.0.6:9000", `127.0.0.1:${b.port}`],
  ]);
  gateway = new InProcess(cluster.kubeconfig, grpcPort, metricsPort, engines);
  await until("the gateway is ready", async () => (await gateway.readiness()).status === 200);
  path = await startEnvoyPath([a, b], grpcPort);
});

afterAll(async () => {
  await path?.stop();
  await gateway?.stop();
  await Promise.all([a?.stop(), b?.stop(), cluster?.[Symbol.asyncDispose]()]);
});

/** Asks until the answer is as wanted: a change takes a moment to arrive. */
async function answered(model: string, status: number, headers: Record<string, string> = {}): Promise<Reply> {
  return await until(`${model} is a ${status}`, async () => {
    const reply = await path.complete(model, { headers });
    return reply.status === status ? reply : undefined;
  });
}

test("base models and adapters are routed to the pods that serve them", async () => {
  expect((await path.complete("base")).json.engine).toBe("a");
  expect((await path.complete("lora")).json.engine).toBe("a");
  expect((await path.complete("labelled")).json.engine).toBe("b");
  expect([...gateway.named].sort()).toEqual(["10.0.0.5:8000", "10.0.0.6:9000"]);
  const { json } = await path.call("/v1/models");
  expect(json.data.map((m: { id: string; parent: string | null }) => [m.id, m.parent])).toEqual([
    ["base", null],
    ["labelled", null],
    ["lora", "base"],
    ["moved", "base"],
  ]);
});

test("what nobody has is a 404", async () => {
  expect((await path.complete("nobody")).json.error.code).toBe("model_not_found");
});

test("an adapter that no pod serves yet is a 503 with its reason, and is routed as soon as a slice says so", async () => {
  await cluster.adapter("default", "later", LOADING);
  await cluster.slice("default", "later", []);
  const reply = await until("the reason is told", async () => {
    const answer = await path.complete("later");
    return answer.text.includes("chosen pods are fetching or loading the adapter (ModelAdapterLoading)") ? answer : undefined;
  });
  expect([reply.status, reply.json.error.code, reply.headers["retry-after"]]).toEqual([503, "model_not_ready", "2"]);
  expect(reply.text).not.toContain("secret-bucket");
  await cluster.slice("default", "later", [podA]);
  expect((await answered("later", 200)).json.engine).toBe("a");
});

test("a slice's foreign addresses have no effect", async () => {
  await cluster.adapter("default", "foreign", READY);
  await cluster.slice("default", "foreign", [podA]);
  await answered("foreign", 200);
  // Of nobody; of a pod of another namespace, under that pod's name and under another's.
  const before = b.count;
  for (const [pod, ip] of [
    [podA, "10.9.9.9"],
    [podA, podB.ip],
    [podB, podB.ip],
  ] as const) {
    await cluster.slice("default", "foreign", [podA]);
    await answered("foreign", 200);
    await cluster.slice("default", "foreign", [pod], [ip]);
    expect((await answered("foreign", 503)).json.error.code).toBe("model_not_ready");
  }
  expect(b.count).toBe(before);
  expect(gateway.named).not.toContain("10.9.9.9:8000");
  expect(gateway.named).not.toContain("10.0.0.6:8000");
  expect((await path.complete("lora")).status).toBe(200);
});

test("without a ready pod it is a 503 until one is ready again", async () => {
  await cluster.setReady(podA, false);
  expect((await answered("base", 503)).json.error.message).toContain("its engine's pod is not ready");
  expect((await answered("lora", 503)).json.error.message).toContain("no pod that serves it is ready and listed");
  await cluster.setReady(podA, true);
  await answered("base", 200);
  await answered("lora", 200);
});

test("a name in two namespaces: the older holds it, the other is reached by the header, which ends here", async () => {
  await cluster.adapter("default", "shared", READY);
  await cluster.slice("default", "shared", [podA]);
  expect((await answered("shared", 200)).json.engine).toBe("a");
  await cluster.adapter("team", "shared", READY);
  await cluster.slice("team", "shared", [podB]);
  expect((await answered("shared", 200, { "model-namespace": "team" })).json.engine).toBe("b");
  expect(b.seen.at(-1)?.headers["model-namespace"]).toBeUndefined();
  expect((await path.complete("shared")).json.engine).toBe("a");
  expect((await path.complete("shared", { headers: { "model-namespace": "default" } })).json.engine).toBe("a");
  expect((await path.complete("shared", { headers: { "model-namespace": "nowhere" } })).status).toBe(404);
  const { json } = await path.call("/v1/models");
  expect(json.data.filter((m: { id: string }) => m.id === "shared")).toHaveLength(1);
});

test("what aibrix-engines does not list is named to nobody", async () => {
  const wrong = gateway.named.size;
  await cluster.engines(9000, []);
  expect((await answered("labelled", 503)).json.error.message).toContain("aibrix-engines does not list its engine's address yet");
  await cluster.engines(9000, [podB]);
  await answered("labelled", 200);
  await cluster.engines(8000, [podB]);
  expect((await answered("base", 503)).json.error.message).toContain("aibrix-engines does not list its engine's address yet");
  expect((await answered("lora", 503)).json.error.message).toContain("no pod that serves it is ready and listed");
  await cluster.deleteEngines(8000);
  await cluster.deleteEngines(9000);
  for (const name of ["base", "lora", "labelled"]) {
    await until("the reason is told", async () => (await path.complete(name)).text.includes("aibrix-engines has no EndpointSlices"));
  }
  expect((await gateway.readiness()).status).toBe(200);
  expect(gateway.named.size).toBe(wrong);
  await cluster.engines(8000, [podA, podB]);
  await cluster.engines(9000, [podB]);
  for (const name of ["base", "lora", "labelled"]) await answered(name, 200);
});

test("an adapter that is removed is a 404, whatever its slice still says", async () => {
  await answered("lora", 200);
  await cluster.deleteAdapter("default", "lora");
  expect((await answered("lora", 404)).json.error.code).toBe("model_not_found");
});

test("a pod that ends gets no more requests, also while a slice still names it", async () => {
  const pod = await cluster.pod("default", "ending", "10.0.0.6", BASE);
  await cluster.slice("default", "moved", [pod]);
  await answered("moved", 503);
  await cluster.engines(8000, [podA, podB, pod]);
  await until("it serves", async () => (await path.complete("moved")).json.engine === "b");
  await cluster.deletePod(pod, 60);
  await answered("moved", 503);
  await cluster.deletePod(pod, 0);
  await cluster.slice("default", "moved", [podA]);
  expect((await answered("moved", 200)).json.engine).toBe("a");
});

test("the program follows a cluster under its service account and ends with 0", async () => {
  const [grpcPort = 0, metricsPort = 0] = await freePorts(2);
  const addresses = [`--grpc-bind-address=127.0.0.1:${grpcPort}`, `--metrics-bind-address=127.0.0.1:${metricsPort}`];
  const args = [GATEWAY_PROGRAM, "--kubernetes", `--kubeconfig=${cluster.kubeconfig}`, "--namespace=team", ...addresses];
  // Of one namespace alone: what its ClusterRole allows everywhere is allowed there too.
  const program = await startProgram(process.execPath, args, async () => (await fetch(`http://127.0.0.1:${metricsPort}/readyz`)).ok);
  onTestFinished(async () => void (await program.stop()));
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  expect(metrics).toContain("aibrix_gateway_engines_ready 1\n");
  expect(metrics).toContain("aibrix_gateway_models 2\n");
  expect(await program.stop()).toBe(0);
});

test("without the API server it routes on and stays ready; a new gateway is not ready; all goes on when the server is back", async () => {
  await cluster.plane.killApiserver();
  const [grpcPort = 0, metricsPort = 0] = await freePorts(2);
  const late = new InProcess(cluster.kubeconfig, grpcPort, metricsPort, new Map());
  onTestFinished(() => late.stop());
  const refused = await until("the new gateway answers", () => late.readiness());
  expect(refused).toMatchObject({
    status: 503,
    text: expect.stringContaining("pods, EndpointSlices, ModelAdapters, EndpointSlices of aibrix-engines"),
  });
  for (let i = 0; i < 20; i++) expect((await path.complete(i % 2 === 0 ? "base" : "moved")).json.engine).toBe("a");
  expect((await gateway.readiness()).status).toBe(200);
  expect([await gateway.health(), await late.health()]).toEqual([SERVING, NOT_SERVING]);

  await cluster.plane.startApiserver(AbortSignal.timeout(120_000));
  await until("the new gateway is ready", async () => (await late.readiness()).status === 200);
  expect(await late.health()).toBe(SERVING);
  await cluster.adapter("team", "after", READY);
  await cluster.slice("team", "after", [podB]);
  expect((await answered("after", 200)).json.engine).toBe("b");
});
