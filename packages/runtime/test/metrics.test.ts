import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { DEFAULT_RUNTIME_PORT, RUNTIME_PATHS } from "@aibrix/api";
import { ensurePrometheus, writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { type Program, stopPrograms } from "./support/program.ts";
import { complete, eventually, type Runtime, World } from "./support/world.ts";

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

const SERIES = Array.from(
  { length: 20_000 },
  (_, i) => `vllm:request_success_total{finished_reason="stop",model_name="adapter-${i}"} ${i}`,
);
const world = new World();
let engine: Program;
let runtime: Runtime;
/** An engine with a large page, and its runtime. */
let big: Server;
let other: Runtime;
let prometheus: ChildProcess;
let prometheusUrl: string;
let prometheusLog = "";

beforeAll(async () => {
  const { bin } = await ensurePrometheus({ log: () => undefined, signal: new AbortController().signal });
  engine = await world.engine();
  runtime = await world.runtime(engine.url);
  big = await startStandIn((response) => response.end(`# TYPE vllm:request_success_total counter\n${SERIES.join("\n")}\n`));
  other = await world.runtime(`http://127.0.0.1:${(big.address() as AddressInfo).port}`, {
    args: [`--artifacts-dir=${world.path("other")}`],
  });
  const port = await freePort();
  prometheusUrl = `http://127.0.0.1:${port}`;
  const config = {
    global: { scrape_interval: "200ms", scrape_timeout: "200ms" },
    scrape_configs: [
      { job_name: "runtime", static_configs: [{ targets: [new URL(runtime.url).host] }] },
      // As patient as Prometheus is by default, but for less time: twice as long as the runtime waits for its engine.
      {
        job_name: "patient",
        scrape_interval: "5s",
        scrape_timeout: "5s",
        static_configs: [{ targets: [new URL(runtime.url).host, new URL(other.url).host] }],
      },
    ],
  };
  await writeFile(world.path("prometheus.yml"), JSON.stringify(config));
  const args = [
    `--config.file=${world.path("prometheus.yml")}`,
    `--storage.tsdb.path=${world.path("tsdb")}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  prometheus = spawn(bin, args, { stdio: ["ignore", "ignore", "pipe"] });
  prometheus.stderr?.setEncoding("utf8").on("data", (chunk: string) => (prometheusLog += chunk));
}, 120_000);

test.each(["base.yaml", "base-with-key.yaml"])(
  "the Service in %s tells Prometheus the runtime's port, and the path that it asks by default",
  async (file) => {
    const documents = parseAllDocuments(await readFile(new URL(`../../../samples/adapter/${file}`, import.meta.url), "utf8"));
    const services = documents
      .map((d) => d.toJS() as { kind: string; metadata: { annotations?: object } })
      .filter((o) => o.kind === "Service");
    expect(services.map((s) => s.metadata.annotations)).toEqual([
      { "prometheus.io/scrape": "true", "prometheus.io/port": String(DEFAULT_RUNTIME_PORT) },
    ]);
    expect(RUNTIME_PATHS.metrics).toBe("/metrics");
  },
);

afterAll(async () => {
  if (prometheus?.exitCode === null) {
    prometheus.kill("SIGTERM");
    await once(prometheus, "exit");
  }
  await stopPrograms();
  big?.closeAllConnections();
  big?.close();
  world.remove();
});

async function query(expression: string): Promise<readonly Sample[]> {
  const response = await fetch(`${prometheusUrl}/api/v1/query?query=${encodeURIComponent(expression)}`);
  expect(response.status, prometheusLog).toBe(200);
  return ((await response.json()) as { data: { result: readonly Sample[] } }).data.result;
}

test("a real Prometheus reads the page: the engine's metrics, their copies under neutral names, and ours", async () => {
  await writeAdapter(world.path("a"), { seed: 1 });
  await runtime.load("a", world.path("a"));
  await runtime.serves("a");
  expect((await complete(engine, "a")).status).toBe(200);
  await eventually(async () =>
    expect(Number((await query('aibrix:generation_tokens_total{job="runtime"}'))[0]?.value[1])).toBeGreaterThan(0),
  );
  for (const [neutral, own] of [
    ["aibrix:queue_size", "vllm:num_requests_waiting"],
    ["aibrix:kv_cache_usage_perc", "vllm:kv_cache_usage_perc"],
    ["aibrix:prompt_tokens_total", "vllm:prompt_tokens_total"],
    ["aibrix:request_success_total", "vllm:request_success_total"],
  ] as const) {
    const withoutName = (samples: readonly Sample[]) =>
      samples.map(({ metric: { __name__: _, ...labels }, value }) => ({ labels, value: value[1] }));
    expect(withoutName(await query(`${neutral}{job="runtime"}`))).toEqual(withoutName(await query(`${own}{job="runtime"}`)));
    expect((await query(`${neutral}{job="runtime"}`)).length).toBeGreaterThan(0);
  }
  expect(await query('aibrix_runtime_adapters{job="runtime",state="Serving"} == 1')).toHaveLength(1);
  expect(await query('aibrix_runtime_load_seconds_count{job="runtime",result="success"} == 1')).toHaveLength(1);
  expect(await query('up{job="runtime"} == 1')).toHaveLength(1);
});

test("while the engine is away, or sends no metrics, ours still come within Prometheus' deadline", async () => {
  await engine.kill();
  await eventually(async () => expect(await query(up(0))).toHaveLength(1));
  const standIn = await startStandIn((response) => response.end("<html>no metrics</html>"), enginePort());
  try {
    await eventually(async () => expect(await query(up(1))).toHaveLength(1));
  } finally {
    standIn.closeAllConnections();
    standIn.close();
  }
});

test("while the engine's metrics come too late, ours still come, once the runtime has given up waiting", async () => {
  const standIn = await startStandIn(() => undefined, enginePort());
  try {
    // Scrapes share one call of the engine: a late one waits for the rest of its time only.
    const waited = `scrape_duration_seconds{job="patient",instance="${new URL(runtime.url).host}"} > 0.2 and on(job, instance) up == 1`;
    await eventually(async () => {
      expect(await query(waited)).toHaveLength(1);
      expect(await query(up(1, "patient"))).toHaveLength(1);
    }, 60_000);
  } finally {
    standIn.closeAllConnections();
    standIn.close();
  }
}, 90_000);

test("thousands of series pass whole, and a real Prometheus takes them", async () => {
  const page = (await other.text("/metrics")).text.split("\n");
  expect(page.filter((l) => l.startsWith("vllm:request_success_total{"))).toEqual(SERIES);
  expect(page.filter((l) => l.startsWith("aibrix:request_success_total{"))).toEqual(SERIES.map((l) => l.replace("vllm:", "aibrix:")));
  const sum = (SERIES.length * (SERIES.length - 1)) / 2;
  for (const name of ["vllm:request_success_total", "aibrix:request_success_total"]) {
    const ofOther = `${name}{job="patient",instance="${new URL(other.url).host}"}`;
    await eventually(async () => {
      expect((await query(`count(${ofOther})`))[0]?.value[1]).toBe(String(SERIES.length));
      expect(Number((await query(`sum(${ofOther})`))[0]?.value[1])).toBe(sum);
    }, 60_000);
  }
}, 150_000);

/** Whether the engine is up, as Prometheus has it from a scrape that went well. */
function up(value: 0 | 1, job = "runtime"): string {
  const instance = new URL(runtime.url).host;
  return `aibrix_runtime_engine_up{job="${job}",instance="${instance}"} == ${value} and on(job, instance) up == 1`;
}

function enginePort(): number {
  return Number(new URL(engine.url).port);
}

/** Something that answers like an engine, but for its metrics. */
async function startStandIn(metrics: (response: ServerResponse) => unknown, port = 0): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url === "/metrics") metrics(response);
    else response.end(JSON.stringify({ object: "list", data: [] }));
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
