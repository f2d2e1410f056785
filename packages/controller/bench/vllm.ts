import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureVllm, vllmServeCommand, writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { Reflector } from "@aibrix/kube";
import { createLogger } from "@aibrix/service";
import type { Adapter } from "../test/support/adapters.ts";
import { freePort } from "../test/support/process.ts";
import { adapter, BASE, type FakePod, until, World } from "../test/support/world.ts";
import { type Figure, milliseconds, percentile, type Report } from "./report.ts";
import { allHold, isReady } from "./stage.ts";

const REPEATS = 10;
const START_MS = 600_000;

/** One real vLLM with the sidecar that ships, as a pod of the API server has them. */
interface RealPod {
  readonly pod: FakePod;
  readonly engine: string;
}

/**
 * One adapter after the other whose files are on the machine, on one and on three real vLLMs with real sidecars: from create to Ready, beside
 * what a load takes that is asked of an engine itself.
 */
export async function singleVllm(): Promise<Report> {
  const { bin } = await ensureVllm({ log: (line) => void process.stderr.write(`${line}\n`), signal: AbortSignal.timeout(3_600_000) });
  const dir = await mkdtemp(join(tmpdir(), "aibrix-bench-"));
  const programs: ChildProcess[] = [];
  const stop = new AbortController();
  const world = await World.start();
  const reflector = new Reflector<Adapter>({
    client: world.admin,
    log: createLogger("bench", "silent"),
    resource: world.resource("ModelAdapter") as never,
  });
  const watching = reflector.run(stop.signal);
  const begin = (argv: readonly string[], env: NodeJS.ProcessEnv): void => {
    const [file = "", ...args] = argv;
    programs.push(spawn(file, args, { env: { ...process.env, ...env }, stdio: "ignore" }));
  };
  const startPod = async (name: string): Promise<RealPod> => {
    const [port, runtimePort] = [await freePort(), await freePort()];
    const [engine, runtime] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${runtimePort}`];
    const serve = { bin, modelDir: join(dir, "base"), servedModelName: BASE, port, maxCpuLoras: 64, cacheDir: join(dir, name) };
    const { argv, env } = vllmServeCommand(serve);
    begin(argv, env);
    const artifacts = join(dir, `artifacts-${name}`);
    await mkdir(artifacts);
    const main = fileURLToPath(new URL("../../runtime/dist/main.js", import.meta.url));
    begin([process.execPath, main, "--host=127.0.0.1", `--port=${runtimePort}`, `--artifacts-dir=${artifacts}`], {
      INFERENCE_ENGINE: "vllm",
      INFERENCE_ENGINE_ENDPOINT: engine,
      LOG_LEVEL: "error",
    });
    await until(`${name} answers`, async () => (await fetch(`${runtime}/ready`)).ok, START_MS, 100);
    return { engine, pod: await world.pod(name, { runtimeUrl: runtime, engineUrl: engine, volume: { engine: dir, runtime: dir } }) };
  };
  try {
    await writeBaseModel(join(dir, "base"));
    await reflector.synced(stop.signal);
    await world.controller();
    const figures: Figure[] = [];
    const pods: RealPod[] = [];
    for (const [round, count] of [1, 3].entries()) {
      // One after the other: they take both cores while they start.
      while (pods.length < count) pods.push(await startPod(`pod-${pods.length}`));
      const took: number[] = [];
      const own: number[] = [];
      // The first of each round warms up.
      for (let i = 0; i <= REPEATS; i++) {
        const name = `lora-${round}-${i}`;
        const path = join(dir, "adapters", name);
        await writeAdapter(path, { seed: round * 100 + i + 1 });
        const loadMs = await Promise.all(pods.map((p) => loadOf(p.engine, `${path}-${p.pod.name}`, round * 100 + i + 51)));
        const startMs = performance.now();
        await world.create(adapter(name, { artifactURL: path }));
        const readyMs = await allHold<Adapter>(
          `${name} is ready`,
          reflector.store,
          [`default/${name}`],
          (a) => isReady(a) && a?.status?.readyReplicas === count,
        );
        if (i === 0) continue;
        own.push(Math.max(...loadMs));
        took.push(readyMs - startMs);
      }
      const [median, load] = [percentile(took, 50), percentile(own, 50)];
      const on = `on ${count} vLLM${count === 1 ? "" : "s"}`;
      figures.push(
        milliseconds(`${on}: created until Ready, median of ${REPEATS}`, median),
        milliseconds(`${on}: created until Ready, longest`, Math.max(...took)),
        milliseconds(`${on}: the engine's own load, median`, load),
        milliseconds(`${on}: Ready beyond that, median`, median - load, `under ${count === 1 ? 1_000 : 2_000} ms`),
      );
    }
    return {
      scenario: "single-vllm",
      of: "real vLLMs with real sidecars, files on the machine, an answer of one token before Ready",
      figures,
    };
  } finally {
    stop.abort();
    await watching;
    await world[Symbol.asyncDispose]();
    for (const child of programs) child.kill("SIGTERM");
    await Promise.all(programs.map((child) => (child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined)));
    await rm(dir, { recursive: true, force: true });
  }
}

/** What a load takes that is asked of the engine itself, in milliseconds; it is taken away again. */
async function loadOf(engine: string, path: string, seed: number): Promise<number> {
  await writeAdapter(path, { seed });
  const post = async (call: string, body: object) => {
    const answer = await fetch(`${engine}/v1/${call}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${call}: HTTP ${answer.status} ${await answer.text()}`);
    await answer.text();
  };
  const startMs = performance.now();
  await post("load_lora_adapter", { lora_name: "alone", lora_path: path });
  const tookMs = performance.now() - startMs;
  await post("unload_lora_adapter", { lora_name: "alone" });
  return tookMs;
}
