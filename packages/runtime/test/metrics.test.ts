import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { ensurePrometheus, writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Program, stopPrograms } from "./support/program.ts";
import { complete, eventually, type Runtime, World } from "./support/world.ts";

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

const world = new World();
let engine: Program;
let runtime: Runtime;
let prometheus: ChildProcess;
let prometheusUrl: string;
let prometheusLog = "";

beforeAll(async () => {
  const { bin } = await ensurePrometheus({ log: () => undefined, signal: new AbortController().signal });
  engine = await world.engine();
  runtime = await world.runtime(engine.url);
  const port = await freePort();
  prometheusUrl = `http://127.0.0.1:${port}`;
  const config = {
    global: { scrape_interval: "200ms", scrape_timeout: "200ms" },
    scrape_configs: [{ job_name: "runtime", static_configs: [{ targets: [new URL(runtime.url).host] }] }],
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

afterAll(async () => {
  if (prometheus?.exitCode === null) {
    prometheus.kill("SIGTERM");
    await once(prometheus, "exit");
  }
  await stopPrograms();
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
  await eventually(async () => expect(Number((await query("aibrix:generation_tokens_total"))[0]?.value[1])).toBeGreaterThan(0));
  for (const [neutral, own] of [
    ["aibrix:queue_size", "vllm:num_requests_waiting"],
    ["aibrix:kv_cache_usage_perc", "vllm:kv_cache_usage_perc"],
    ["aibrix:prompt_tokens_total", "vllm:prompt_tokens_total"],
    ["aibrix:request_success_total", "vllm:request_success_total"],
  ] as const) {
    const withoutName = (samples: readonly Sample[]) =>
      samples.map(({ metric: { __name__: _, ...labels }, value }) => ({ labels, value: value[1] }));
    expect(withoutName(await query(neutral))).toEqual(withoutName(await query(own)));
    expect((await query(neutral)).length).toBeGreaterThan(0);
  }
  expect(await query('aibrix_runtime_adapters{state="Serving"} == 1')).toHaveLength(1);
  expect(await query('aibrix_runtime_load_seconds_count{result="success"} == 1')).toHaveLength(1);
  expect(await query("up == 1")).toHaveLength(1);
});

test("while the engine is away, slow, or sends no metrics, ours still come within Prometheus' deadline", async () => {
  await engine.kill();
  await eventually(async () => expect(await query("aibrix_runtime_engine_up == 0 and on(instance) up == 1")).toHaveLength(1));
  const standIn = createServer((request, response) => {
    if (request.url === "/metrics") response.end("<html>no metrics</html>");
    else response.end(JSON.stringify({ object: "list", data: [] }));
  });
  standIn.listen(Number(new URL(engine.url).port), "127.0.0.1");
  await once(standIn, "listening");
  try {
    await eventually(async () => expect(await query("aibrix_runtime_engine_up == 1 and on(instance) up == 1")).toHaveLength(1));
  } finally {
    standIn.closeAllConnections();
    standIn.close();
  }
});

test("thousands of series pass whole", async () => {
  const lines = Array.from(
    { length: 20_000 },
    (_, i) => `vllm:request_success_total{finished_reason="stop",model_name="adapter-${i}"} ${i}`,
  );
  const big = createServer((request, response) => {
    if (request.url === "/metrics") response.end(`# TYPE vllm:request_success_total counter\n${lines.join("\n")}\n`);
    else response.end(JSON.stringify({ object: "list", data: [] }));
  });
  big.listen(0, "127.0.0.1");
  await once(big, "listening");
  const other = await world.runtime(`http://127.0.0.1:${(big.address() as AddressInfo).port}`, {
    args: [`--artifacts-dir=${world.path("other")}`],
  });
  try {
    const page = (await other.text("/metrics")).text.split("\n");
    expect(page.filter((l) => l.startsWith("vllm:request_success_total{"))).toEqual(lines);
    expect(page.filter((l) => l.startsWith("aibrix:request_success_total{"))).toEqual(lines.map((l) => l.replace("vllm:", "aibrix:")));
  } finally {
    big.closeAllConnections();
    big.close();
  }
});

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
