import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelAdapterStatus } from "@aibrix/api";
import { ensureEnvoy, ensureVllm, envoyBootstrap, type Hub, startHub, vllmServeCommand, writeBaseModel } from "@aibrix/devcluster";
import { expect, vi } from "vitest";
import { ENGINE, ROOT } from "./cli.ts";
import { Cluster, routableAddress } from "./control-plane.ts";
import { freePort } from "./engine.ts";
import { FaultyEngine } from "./faulty-engine.ts";
import { BASE_MODEL } from "./manifest.ts";
import { Program } from "./program.ts";

const UP_MS = ENGINE === "vllm" ? 600_000 : 60_000;
const GATEWAYS = "aibrix-gateway-plugins";
/** An EndpointSlice takes no loopback address. Empty where this machine has no other. */
export const POD_IP: string = routableAddress() ?? "";

export interface ManagedPodsOptions {
  readonly pods: number;
  /** Adapters that run at a time in an engine, 4 by default. */
  readonly maxLoras?: number;
  /** Flags more of each mock engine. */
  readonly engineArgs?: (hubRoot: string) => Promise<readonly string[]>;
  /** Engines that end are started anew; whether their pods tell of that, as a kubelet does. Where it is left out an end fails the story. */
  readonly restarts?: "told" | "untold";
  /** `--max-lora-rank` of each engine, 8 where there is none. */
  readonly ranks?: readonly number[];
  /** The rank that the pods say their engines take, 8 by default. */
  readonly toldRank?: number;
  /** Flags more of each sidecar. */
  readonly runtimeArgs?: readonly string[];
  /** Which completions of the engines reach clients as errors: all that Envoy gets goes through a {@link FaultyEngine} then. */
  readonly spoils?: (answer: string) => boolean;
  /** The token that gated repositories of the Hub ask for. */
  readonly hubToken?: string;
  /** Repositories of the Hub are written here before anything starts. */
  readonly fill: (hubRoot: string) => Promise<void>;
}

interface Pod {
  readonly engine: Program;
  readonly engineUrl: string;
  readonly enginePort: number;
  readonly runtimeUrl: string;
  readonly artifacts: string;
  /** How often its engine was started anew. */
  restarts: number;
}

/** Engines with sidecars, told to a real API server as a kubelet would; the controller keeps their adapters, and the gateway and an Envoy are before them. */
export class ManagedPods implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "aibrix-e2e-"));
  readonly #programs: Program[] = [];
  readonly #pods: Pod[] = [];
  #hub: Hub | undefined;
  #cluster: Cluster | undefined;
  readonly #faulty: FaultyEngine[] = [];
  readonly #ends = new AbortController();
  #controller: Program | undefined;
  #controllerArgs: readonly string[] = [];
  #gateway = "";
  #gatewayMetrics = "";

  private constructor() {}

  static async start(options: ManagedPodsOptions): Promise<ManagedPods> {
    const all = new ManagedPods();
    try {
      await all.#start(options);
      return all;
    } catch (error) {
      await all[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pods(): readonly Pod[] {
    return this.#pods;
  }

  get gateway(): string {
    return this.#gateway;
  }

  /** The gateway's metrics page. */
  get gatewayMetrics(): string {
    return this.#gatewayMetrics;
  }

  /** How many completions were made errors. */
  get spoilt(): number {
    return this.#faulty.reduce((sum, { spoilt }) => sum + spoilt, 0);
  }

  /** The controller is gone, without a word. */
  async killController(): Promise<void> {
    await this.#controller?.kill();
    this.#programs.splice(this.#programs.indexOf(this.#controller as Program), 1);
    this.#controller = undefined;
  }

  startController(): void {
    this.#controller = this.#run("controller", this.#controllerArgs);
  }

  get baseModelDir(): string {
    return this.hubRepo("Qwen/Qwen2.5-Coder-1.5B-Instruct");
  }

  get cluster(): Cluster {
    if (this.#cluster === undefined) throw new Error("there is no cluster yet");
    return this.#cluster;
  }

  hubRepo(repo: string): string {
    return join(this.folder, "hub", repo);
  }

  /** Applies a ModelAdapter of the namespace `default` for these engines. */
  async declare(name: string, artifactURL: string, spec: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.cluster.apply({
      apiVersion: "model.aibrix.ai/v1alpha1",
      kind: "ModelAdapter",
      metadata: { name, namespace: "default" },
      spec: { podSelector: { matchLabels: { "model.aibrix.ai/name": BASE_MODEL } }, artifactURL, ...spec },
    });
  }

  async status(name: string): Promise<ModelAdapterStatus> {
    const object = JSON.parse(await this.cluster.kubectl("get", "modeladapter", name, "-o", "json"));
    return (object as { status?: ModelAdapterStatus }).status ?? {};
  }

  /** Waits for a condition as a user would, of the generation that was applied last for Ready. @param wanted - `Ready` or `Updated=False`, for example */
  async waitFor(name: string, wanted: string, timeoutS: number): Promise<void> {
    await this.cluster.kubectl("wait", `--for=condition=${wanted}`, `modeladapter/${name}`, `--timeout=${timeoutS}s`);
  }

  /** Waits until every pod serves an adapter that was just applied for the first time. */
  async everywhere(name: string): Promise<void> {
    await vi.waitFor(async () => expect((await this.status(name)).readyReplicas).toBe(this.#pods.length), { timeout: UP_MS, interval: 50 });
  }

  /** Models that an engine lists, with their paths. */
  async engineModels({ engineUrl }: Pod): Promise<Readonly<Record<string, string>>> {
    const response = await fetch(`${engineUrl}/v1/models`, { signal: AbortSignal.timeout(30_000) });
    const { data } = (await response.json()) as { data: readonly { id: string; root: string }[] };
    return Object.fromEntries(data.map(({ id, root }) => [id, root]));
  }

  /** Fails where a program has ended, with what it wrote. */
  check(): void {
    for (const program of this.#programs) program.check();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ends.abort();
    await Promise.all(this.#programs.map((program) => program.stop()));
    for (const proxy of this.#faulty) await proxy[Symbol.asyncDispose]();
    await this.#hub?.close();
    await this.#cluster?.[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #start(options: ManagedPodsOptions): Promise<void> {
    await options.fill(join(this.folder, "hub"));
    await writeBaseModel(this.baseModelDir);
    this.#hub = await startHub({ root: join(this.folder, "hub"), ...(options.hubToken === undefined ? {} : { token: options.hubToken }) });
    this.#cluster = await Cluster.start(AbortSignal.timeout(3_600_000));
    // Each is another process, and a vLLM needs most of its time for its start.
    await Promise.all(Array.from({ length: options.pods }, (_, i) => this.#startPod(i, options)));
    const [health, grpc, side] = [await freePort(), await freePort(), await freePort()];
    this.#controllerArgs = [
      "--enable-runtime-sidecar",
      `--health-probe-bind-address=127.0.0.1:${health}`,
      `--kubeconfig=${await this.cluster.kubeconfigOf("aibrix-controller-manager")}`,
      `--gateway-metrics-service=${GATEWAYS}:${side}`,
    ];
    this.startController();
    const binds = [`--grpc-bind-address=127.0.0.1:${grpc}`, `--metrics-bind-address=${POD_IP}:${side}`];
    this.#run("gateway", ["--kubernetes", `--kubeconfig=${await this.cluster.kubeconfigOf("aibrix-gateway-plugins")}`, ...binds]);
    await Promise.all([this.#answers(`http://127.0.0.1:${health}/readyz`), this.#answers(`http://${POD_IP}:${side}/readyz`)]);
    this.#gatewayMetrics = `http://${POD_IP}:${side}/metrics`;
    await this.#tellGateway(grpc);
    const [listenPort, adminPort] = [await freePort(), await freePort()];
    const config = join(this.folder, "envoy.json");
    const engines = this.#pods.map(({ enginePort: port }) => ({ host: POD_IP, port }));
    writeFileSync(config, JSON.stringify(envoyBootstrap({ listenPort, adminPort, extProc: { host: "127.0.0.1", port: grpc }, engines })));
    const { bin } = await ensureEnvoy({ log: () => undefined, signal: AbortSignal.timeout(240_000) });
    this.#programs.push(new Program(bin, ["-c", config, "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1"]));
    await this.#answers(`http://127.0.0.1:${adminPort}/ready`);
    this.#gateway = `http://127.0.0.1:${listenPort}`;
  }

  /** As a cluster's own controller tells of the gateway's pods. */
  async #tellGateway(port: number): Promise<void> {
    await this.cluster.apply({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: `${GATEWAYS}-1`, namespace: "aibrix-system", labels: { "kubernetes.io/service-name": GATEWAYS } },
      addressType: "IPv4",
      endpoints: [{ addresses: [POD_IP] }],
      ports: [{ name: "grpc", port, protocol: "TCP" }],
    });
  }

  /** An engine, its sidecar and their pod, as a kubelet would tell of it. */
  async #startPod(index: number, options: ManagedPodsOptions): Promise<void> {
    const { maxLoras = 4, ranks = [], toldRank = 8, runtimeArgs = [] } = options;
    const name = `engine-${index}`;
    const [ownPort, runtimePort] = [await freePort(), await freePort()];
    const more = (await options.engineArgs?.(join(this.folder, "hub"))) ?? [];
    const startEngine = () => this.#startEngine(name, ownPort, maxLoras, ranks[index] ?? 8, more);
    const engine = await startEngine();
    const enginePort = options.spoils === undefined ? ownPort : await this.#startFaulty(ownPort, options.spoils);
    const artifacts = join(this.folder, `artifacts-${name}`);
    mkdirSync(artifacts);
    const [engineUrl, runtimeUrl] = [`http://${POD_IP}:${ownPort}`, `http://${POD_IP}:${runtimePort}`];
    const env = { INFERENCE_ENGINE: "vllm", INFERENCE_ENGINE_ENDPOINT: engineUrl, HF_ENDPOINT: this.#hub?.url ?? "" };
    this.#run("runtime", [`--host=${POD_IP}`, `--port=${runtimePort}`, `--artifacts-dir=${artifacts}`, ...runtimeArgs], env);
    await this.#answers(`${runtimeUrl}/ready`);
    const volumeMounts = [{ name: "adapters", mountPath: artifacts }];
    const labels = {
      "model.aibrix.ai/name": BASE_MODEL,
      "model.aibrix.ai/port": `${enginePort}`,
      "model.aibrix.ai/max-lora-rank": `${toldRank}`,
    };
    const command = ["aibrix_runtime", "--port", `${runtimePort}`, `--artifacts-dir=${artifacts}`];
    await this.cluster.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default", labels },
      spec: {
        automountServiceAccountToken: false,
        containers: [
          { name: "vllm-openai", image: "vllm/vllm-openai:v0.7.1", ports: [{ containerPort: enginePort }], volumeMounts },
          { name: "aibrix-runtime", image: "aibrix/runtime:v0.2.1", command, volumeMounts },
        ],
        volumes: [{ name: "adapters", emptyDir: {} }],
      },
    });
    await this.#tellPod(name, true, 0);
    const pod: Pod = { engineUrl, enginePort, runtimeUrl, artifacts, engine, restarts: 0 };
    this.#pods[index] = pod;
    const { restarts } = options;
    if (restarts !== undefined) void this.#keepUp(pod, name, restarts === "told", startEngine);
  }

  /** As a kubelet does. */
  async #tellPod(name: string, ready: boolean, restartCount: number): Promise<void> {
    const condition = { type: "Ready", status: ready ? "True" : "False", lastTransitionTime: new Date().toISOString() };
    const container = { name: "vllm-openai", ready, restartCount, image: "vllm/vllm-openai:v0.7.1", imageID: "" };
    const status = { phase: "Running", podIP: POD_IP, podIPs: [{ ip: POD_IP }], conditions: [condition], containerStatuses: [container] };
    const told = JSON.stringify({ status });
    await this.cluster.kubectl("patch", "pod", name, "-n", "default", "--subresource=status", "--type=merge", "-p", told);
  }

  /** Starts an engine anew whenever it has ended. */
  async #keepUp(pod: Pod, name: string, tells: boolean, startEngine: () => Promise<Program>): Promise<void> {
    for (let engine = pod.engine; ; ) {
      await engine.exited();
      if (this.#ends.signal.aborted) return;
      this.#programs.splice(this.#programs.indexOf(engine), 1);
      pod.restarts += 1;
      if (tells) await this.#tellPod(name, false, pod.restarts);
      engine = await startEngine();
      await this.#answers(`${pod.engineUrl}/health`);
      if (tells) await this.#tellPod(name, true, pod.restarts);
    }
  }

  /** @returns the port where the engine's answers are spoilt */
  async #startFaulty(enginePort: number, spoils: (answer: string) => boolean): Promise<number> {
    const port = await freePort();
    this.#faulty.push(await FaultyEngine.start(POD_IP, port, new URL(`http://${POD_IP}:${enginePort}`), spoils));
    return port;
  }

  async #startEngine(name: string, port: number, maxLoras: number, maxLoraRank: number, more: readonly string[] = []): Promise<Program> {
    if (ENGINE === "mock") {
      const args = ["--model", this.baseModelDir, "--served-model-name", BASE_MODEL, "--host", POD_IP, "--port", String(port)];
      const flags = ["--enable-lora", `--max-loras=${maxLoras}`, `--max-lora-rank=${maxLoraRank}`];
      return this.#run("mock-engine", [...args, ...flags, ...more], { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True" });
    }
    const { bin } = await ensureVllm({ log: console.log, signal: AbortSignal.timeout(UP_MS) });
    const { argv, env } = vllmServeCommand({
      bin,
      modelDir: this.baseModelDir,
      servedModelName: BASE_MODEL,
      host: POD_IP,
      port,
      maxLoras,
      maxCpuLoras: Math.max(3, 2 * maxLoras),
      maxLoraRank,
      cacheDir: join(this.folder, `cache-${name}`),
    });
    const [file, ...args] = argv;
    const program = new Program(file, args, env);
    this.#programs.push(program);
    return program;
  }

  #run(name: string, args: readonly string[], env: Record<string, string> = {}): Program {
    const main = join(ROOT, "packages", name, "dist/main.js");
    const program = new Program(process.execPath, [main, ...args], { POD_NAMESPACE: "aibrix-system", ...env });
    this.#programs.push(program);
    return program;
  }

  async #answers(url: string): Promise<void> {
    const look = async () => {
      this.check();
      expect((await fetch(url)).ok, url).toBe(true);
    };
    await vi.waitFor(look, { timeout: UP_MS, interval: 50 });
  }
}
