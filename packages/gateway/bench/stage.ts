import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BOOKMARK_PERIOD_MS, HEADER_DESTINATION } from "@aibrix/api";
import { ensureEnvoy, ensureGatewayBench, envoyBootstrap, type PartContext } from "@aibrix/devcluster";
import { FakeRuntime } from "../test/support/fake-runtime.ts";
import { freePorts } from "../test/support/ports.ts";
import { chatBody } from "./bodies.ts";
import { adapterName, enginesOf, type Load, type Loaded, loadArgs, type Placement } from "./loader.ts";
import { answers, type Running, start } from "./processes.ts";
import type { Server, Variant } from "./variants.ts";

const GATEWAY = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const CLUSTER_GATEWAY = fileURLToPath(new URL("cluster-gateway.ts", import.meta.url));

/** What the engines and the gateway's Envoys are like. */
export interface StageOptions extends Placement {
  /** Threads of each Envoy; each of them holds one connection to its ext_proc server. */
  readonly envoyThreads: number;
  /** Pause between two chunks of an event stream, in milliseconds. */
  readonly pauseMs?: number;
}

/** A variant that runs. */
export interface Subject {
  /** `ip:port` of each Envoy. */
  readonly to: readonly string[];
  readonly envoys: readonly Running[];
  /** The ext_proc server. */
  readonly server: Running | undefined;
  /** A value of the first Envoy's statistics. */
  readonly stat: (name: string) => Promise<number>;
  /** How many models the gateway knows; NaN of another server. */
  readonly models: () => Promise<number>;
  /** The gateway's metrics, in Prometheus' text form; empty of another server. */
  readonly metrics: () => Promise<string>;
}

interface ExtProcServer {
  readonly port: number;
  readonly running?: Running;
  readonly metricsUrl?: string;
}

/** Engines that answer at once, a runtime beside each that says what it has, and what is measured in front of them. */
export class Stage implements AsyncDisposable {
  readonly #options: StageOptions;
  readonly #signal: AbortSignal;
  readonly #dir: string;
  readonly #bins: { readonly envoy: string; readonly bench: string };
  readonly #running: Running[] = [];
  readonly #bodies = new Map<string, string>();
  readonly #runtimes: FakeRuntime[] = [];
  #ports: readonly number[] = [];
  #bookmarks: NodeJS.Timeout | undefined;

  private constructor(options: StageOptions, signal: AbortSignal, dir: string, bins: { readonly envoy: string; readonly bench: string }) {
    this.#options = options;
    this.#signal = signal;
    this.#dir = dir;
    this.#bins = bins;
  }

  static async start(options: StageOptions, { log, signal }: PartContext): Promise<Stage> {
    const [{ bin: envoy }, { bin: bench }] = await Promise.all([ensureEnvoy({ log, signal }), ensureGatewayBench({ log, signal })]);
    const dir = await mkdtemp(join(tmpdir(), "aibrix-bench-gateway-"));
    const stage = new Stage(options, signal, dir, { envoy, bench });
    try {
      await stage.#startEngines();
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #startEngines(): Promise<void> {
    const { engines, adapters, pauseMs = 0 } = this.#options;
    const upstream = this.#start([this.#bins.bench, "upstream", `-engines=${engines}`, `-pause=${pauseMs}ms`], "upstream.log", true);
    this.#ports = ((await upstream.say()) as { readonly ports: readonly number[] }).ports;
    for (const port of this.#ports) this.#runtimes.push(await new FakeRuntime(`http://127.0.0.1:${port}`, ["base"]).start());
    for (let i = 0; i < adapters; i += 1) this.add(i);
    // Each as often as a real runtime does, and not all at once: what the gateway does with them is counted too.
    let next = 0;
    this.#bookmarks = setInterval(() => {
      this.#runtimes[next]?.send({ type: "BOOKMARK" });
      next = (next + 1) % engines;
    }, BOOKMARK_PERIOD_MS / engines);
  }

  /** An adapter arrives on its engines. */
  add(adapter: number): void {
    for (const engine of enginesOf(adapter, this.#options)) this.#runtimes[engine]?.setAdapter(adapterName(adapter));
  }

  /** It is taken away. */
  remove(adapter: number): void {
    for (const engine of enginesOf(adapter, this.#options)) this.#runtimes[engine]?.deleteAdapter(adapterName(adapter));
  }

  /** Starts a variant with so many Envoys. It runs until the stage ends. */
  async startVariant(name: string, { server, envoy }: Variant, envoys = 1): Promise<Subject> {
    const { port: extProcPort, running, metricsUrl } = await this.#startServer(name, server);
    const all: { readonly to: string; readonly adminUrl: string; readonly running: Running }[] = [];
    for (let i = 0; i < envoys; i += 1) {
      const [listenPort = 0, adminPort = 0] = await freePorts(2);
      const engines = this.#ports.map((port) => ({ host: "127.0.0.1", port }));
      const config = envoy(envoyBootstrap({ listenPort, adminPort, extProc: { host: "127.0.0.1", port: extProcPort }, engines }));
      const [file, log] = [join(this.#dir, `${name}-${i}.json`), `${name}-envoy-${i}.log`];
      await writeFile(file, JSON.stringify(config));
      const threads = String(this.#options.envoyThreads);
      const argv = [this.#bins.envoy, "-c", file, "--disable-hot-restart", "--log-level", "error", "--concurrency", threads] as const;
      const process = this.#start(argv, log, false);
      const adminUrl = `http://127.0.0.1:${adminPort}`;
      await answers(`${adminUrl}/ready`, join(this.#dir, log), this.#signal);
      all.push({ to: `127.0.0.1:${listenPort}`, adminUrl, running: process });
    }
    const metrics = async (): Promise<string> =>
      metricsUrl === undefined ? "" : await (await fetch(metricsUrl, { signal: this.#signal })).text();
    return {
      to: all.map(({ to }) => to),
      envoys: all.map((e) => e.running),
      server: running,
      stat: async (stat) => {
        const answer = await fetch(`${all[0]?.adminUrl}/stats?filter=^${stat}$`, { signal: this.#signal });
        return Number(/: (\d+)/.exec(await answer.text())?.[1]);
      },
      models: async () => metric(await metrics(), "aibrix_gateway_models"),
      metrics,
    };
  }

  async #startServer(name: string, server: Variant["server"]): Promise<ExtProcServer> {
    // Nobody listens on port 1, and nobody asks there.
    if (server.kind === "none") return { port: 1 };
    if (server.kind === "go") {
      const engines = this.#ports.map((port) => `127.0.0.1:${port}`).join(",");
      const argv = [this.#bins.bench, "extproc", `-header=${HEADER_DESTINATION}`, `-engines=${engines}`] as const;
      const running = this.#start(argv, `${name}.log`, true);
      return { port: ((await running.say()) as { readonly port: number }).port, running };
    }
    const [grpcPort = 0, metricsPort = 0] = await freePorts(2);
    const program = server.kind === "cluster" ? this.#clusterProgram(server) : await this.#fileProgram(name, server.flags);
    const running = this.#start(
      [
        process.execPath,
        ...nodeFlags(GATEWAY),
        ...MORE_NODE_FLAGS,
        ...program,
        `--grpc-bind-address=127.0.0.1:${grpcPort}`,
        `--metrics-bind-address=127.0.0.1:${metricsPort}`,
      ],
      `${name}.log`,
      false,
    );
    const side = `http://127.0.0.1:${metricsPort}`;
    await answers(`${side}/readyz`, join(this.#dir, `${name}.log`), this.#signal);
    return { port: grpcPort, running, metricsUrl: `${side}/metrics` };
  }

  /** The gateway's program, which reads the engines from a file. */
  async #fileProgram(name: string, flags: readonly string[]): Promise<readonly string[]> {
    const endpoints = join(this.#dir, `${name}.yaml`);
    const listed = this.#ports.map((port, i) => ({ engine: `http://127.0.0.1:${port}`, runtime: this.#runtimes[i]?.url }));
    // JSON is YAML.
    await writeFile(endpoints, JSON.stringify({ engines: listed }));
    return [GATEWAY, `--endpoints-config=${endpoints}`, ...flags];
  }

  /** The same that follows a cluster. */
  #clusterProgram({ kubeconfig, reach }: Server & { readonly kind: "cluster" }): readonly string[] {
    const engines = Object.entries(reach).map(([address, engine]) => [address, `127.0.0.1:${this.#ports[engine]}`]);
    const flags = [`--kubeconfig=${kubeconfig}`];
    return ["--conditions=@aibrix/source", CLUSTER_GATEWAY, JSON.stringify(Object.fromEntries(engines)), ...flags];
  }

  /** A file with a body of so many KiB. */
  async body(kib: number, stream: boolean): Promise<string> {
    const key = `${kib}-${stream}.json`;
    const file = this.#bodies.get(key) ?? join(this.#dir, key);
    if (!this.#bodies.has(key)) await writeFile(file, chatBody(kib * 1024, stream));
    this.#bodies.set(key, file);
    return file;
  }

  /** Sends requests, and waits for their end. */
  async load(load: Load): Promise<Loaded> {
    const client = this.startLoad(load);
    try {
      return (await client.say()) as Loaded;
    } finally {
      await client.stop();
    }
  }

  /** Begins to send requests. Its last line is what came of them ({@link Loaded}). */
  startLoad(load: Load): Running {
    return start([this.#bins.bench, ...loadArgs(load, this.#options)], join(this.#dir, "load.log"), true, this.#signal);
  }

  #start(argv: readonly [string, ...string[]], log: string, speaks: boolean): Running {
    const running = start(argv, join(this.#dir, log), speaks, this.#signal);
    this.#running.push(running);
    return running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#bookmarks);
    await Promise.all(this.#running.map((r) => r.stop()));
    await Promise.all(this.#runtimes.map((r) => r.stop()));
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** A value in Prometheus' text form, of a metric without labels. */
export function metric(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

/** More flags of Node for the gateway's process; what a profiler wants for example. */
const MORE_NODE_FLAGS: string[] = (process.env.BENCH_NODE_FLAGS ?? "").split(" ").filter((flag) => flag !== "");

/** Flags of Node in a program's first line: its image starts it with them. */
function nodeFlags(main: string): readonly string[] {
  const [first = ""] = readFileSync(main, "utf8").split("\n", 1);
  return /^#!.* node (\S.*)$/.exec(first)?.[1]?.split(" ") ?? [];
}
