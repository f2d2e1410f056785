// All programs of a cluster together, on a real API server: a ModelAdapter that is applied can be used by its name.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureEnvoy, envoyBootstrap, type Hub, startHub, writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { adapterDigest } from "@aibrix/mock-engine";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE, ROOT } from "../support/cli.ts";
import { ask, complete, errorOf, models } from "../support/client.ts";
import { Cluster, routableAddress } from "../support/control-plane.ts";
import { freePort } from "../support/engine.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Program } from "../support/program.ts";

const NAME = "qwen-code-lora";
const REPO = "ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora";
/** What another team has under the same name, in a namespace of its own. */
const OTHER = { namespace: "team-b", repo: "team-b/other-lora" };
const SAMPLE = join(ROOT, "samples/adapter/adapter.yaml");
const IP = routableAddress() ?? "";
const UP_MS = 60_000;

describe.skipIf(ENGINE === "vllm" || IP === "")("a cluster without nodes", () => {
  const dir = mkdtempSync(join(tmpdir(), "aibrix-e2e-"));
  const programs: Program[] = [];
  let controller: Program;
  let hub: Hub;
  let decoy: Server;
  let decoyRequests = 0;
  let cluster: Cluster;
  let url: string;
  let enginePort: number;
  let otherPort: number;
  let digest: string;

  function start(name: string, args: readonly string[], env: Record<string, string> = {}): Program {
    const main = join(ROOT, "packages", name, "dist/main.js");
    return begin(new Program(process.execPath, [main, ...args], { POD_NAMESPACE: "aibrix-system", ...env }));
  }

  function begin(program: Program): Program {
    programs.push(program);
    return program;
  }

  async function answers(what: string): Promise<void> {
    const look = async () => {
      for (const program of programs) program.check();
      expect((await fetch(what)).ok, what).toBe(true);
    };
    await vi.waitFor(look, { timeout: UP_MS, interval: 50 });
  }

  beforeAll(async () => {
    await writeAdapter(join(dir, "hub", REPO), { seed: 1 });
    await writeAdapter(join(dir, "hub", OTHER.repo), { seed: 2 });
    await writeBaseModel(join(dir, "base"));
    digest = await adapterDigest(join(dir, "hub", REPO));
    hub = await startHub({ root: join(dir, "hub") });
    cluster = await Cluster.start(AbortSignal.timeout(3_600_000));
    [enginePort, otherPort] = [await freePort(), await freePort()];
    await startPod("default", enginePort);

    const health = await freePort();
    const kubeconfig = await cluster.kubeconfigOf("aibrix-controller-manager");
    controller = start("controller", [
      "--enable-runtime-sidecar",
      `--health-probe-bind-address=127.0.0.1:${health}`,
      `--kubeconfig=${kubeconfig}`,
    ]);
    const [grpc, side] = [await freePort(), await freePort()];
    const binds = [`--grpc-bind-address=127.0.0.1:${grpc}`, `--metrics-bind-address=127.0.0.1:${side}`];
    start("gateway", ["--kubernetes", `--kubeconfig=${await cluster.kubeconfigOf("aibrix-gateway-plugins")}`, ...binds]);
    await Promise.all([answers(`http://127.0.0.1:${health}/readyz`), answers(`http://127.0.0.1:${side}/readyz`)]);
    await startEnvoy(grpc);
  });

  /** An engine, its sidecar and their pod. */
  async function startPod(namespace: string, port: number): Promise<void> {
    const runtimePort = await freePort();
    const engineArgs = ["--model", join(dir, "base"), "--served-model-name", BASE_MODEL, "--host", IP, "--port", String(port)];
    start("mock-engine", [...engineArgs, "--enable-lora", "--max-lora-rank=8"], { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True" });
    const artifacts = join(dir, `artifacts-${namespace}`);
    mkdirSync(artifacts);
    const runtimeEnv = { INFERENCE_ENGINE: "vllm", INFERENCE_ENGINE_ENDPOINT: `http://${IP}:${port}`, HF_ENDPOINT: hub.url };
    start("runtime", [`--host=${IP}`, `--port=${runtimePort}`, `--artifacts-dir=${artifacts}`], runtimeEnv);
    await answers(`http://${IP}:${runtimePort}/ready`);
    await applyPod(namespace, port, runtimePort, artifacts);
  }

  /** The pod of an engine and its sidecar, with what a kubelet would say of it. Its address is this machine's, so its ports are its own. */
  async function applyPod(namespace: string, port: number, runtimePort: number, artifacts: string): Promise<void> {
    const volumeMounts = [{ name: "adapters", mountPath: artifacts }];
    await cluster.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "engine",
        namespace,
        labels: { "model.aibrix.ai/name": BASE_MODEL, "model.aibrix.ai/port": `${port}` },
      },
      spec: {
        automountServiceAccountToken: false,
        containers: [
          { name: "vllm-openai", image: "vllm/vllm-openai:v0.7.1", ports: [{ containerPort: port }], volumeMounts },
          {
            name: "aibrix-runtime",
            image: "aibrix/runtime:v0.2.1",
            command: ["aibrix_runtime", "--port", `${runtimePort}`, `--artifacts-dir=${artifacts}`],
            volumeMounts,
          },
        ],
        volumes: [{ name: "adapters", emptyDir: {} }],
      },
    });
    const condition = { type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" };
    const status = { phase: "Running", podIP: IP, podIPs: [{ ip: IP }], conditions: [condition] };
    await cluster.kubectl(
      "patch",
      "pod",
      "engine",
      "-n",
      namespace,
      "--subresource=status",
      "--type=merge",
      "-p",
      JSON.stringify({ status }),
    );
  }

  /** An Envoy that may also go to somebody else, as it would for an address that it does not know. */
  async function startEnvoy(grpc: number): Promise<void> {
    const decoyPort = await freePort();
    decoy = createServer((_, response) => {
      decoyRequests++;
      response.end("{}");
    }).listen(decoyPort, "127.0.0.1");
    const [listenPort, adminPort] = [await freePort(), await freePort()];
    const engines = [
      { host: IP, port: enginePort },
      { host: IP, port: otherPort },
      { host: "127.0.0.1", port: decoyPort },
    ];
    const config = join(dir, "envoy.json");
    writeFileSync(config, JSON.stringify(envoyBootstrap({ listenPort, adminPort, extProc: { host: "127.0.0.1", port: grpc }, engines })));
    const { bin } = await ensureEnvoy({ log: () => undefined, signal: AbortSignal.timeout(240_000) });
    begin(new Program(bin, ["-c", config, "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1"]));
    await answers(`http://127.0.0.1:${adminPort}/ready`);
    url = `http://127.0.0.1:${listenPort}`;
  }

  afterAll(async () => {
    await Promise.all(programs.map((program) => program.stop()));
    decoy?.close();
    await hub?.close();
    await cluster?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  test("the base model is served at the port of its pod", async () => {
    await vi.waitFor(async () => expect(await models(url)).toEqual([BASE_MODEL]), { timeout: UP_MS, interval: 50 });
    for (let i = 0; i < 10; i++) expect(await ask(url, BASE_MODEL)).toMatchObject({ model: BASE_MODEL, digest: undefined });
    const addresses = "{range .items[*]}{.endpoints[*].addresses[*]}:{.ports[*].port}{end}";
    const slices = ["get", "endpointslices", "-n", "aibrix-system", "-l", "kubernetes.io/service-name=aibrix-engines"];
    expect(await cluster.kubectl(...slices, "-o", `jsonpath=${addresses}`)).toBe(`${IP}:${enginePort}`);
  });

  test("samples/adapter/adapter.yaml, applied as it is, is served by its name with its weights, and is unknown once it is deleted", async () => {
    await cluster.kubectl("apply", "-f", SAMPLE);
    await cluster.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "--timeout=50s");
    await vi.waitFor(async () => expect((await complete(url, NAME)).status).toBe(200), { timeout: UP_MS, interval: 50 });
    for (let i = 0; i < 10; i++) expect(await ask(url, NAME)).toMatchObject({ model: NAME, digest, consistent: true });
    expect(await models(url)).toEqual([BASE_MODEL, NAME]);

    await cluster.kubectl("delete", "-f", SAMPLE, "--wait", "--timeout=50s");
    await vi.waitFor(async () => expect((await complete(url, NAME)).status).toBe(404), { timeout: UP_MS, interval: 50 });
    expect(errorOf(await complete(url, NAME)).code).toBe("model_not_found");
    expect(await ask(url, BASE_MODEL)).toMatchObject({ model: BASE_MODEL });
    expect(decoyRequests).toBe(0);
  });

  test("two namespaces hold a name: the older answers to it, the younger to the header, and says so; then the name is the younger's", async () => {
    const { namespace, repo } = OTHER;
    const other = await adapterDigest(join(dir, "hub", repo));
    await cluster.kubectl("create", "namespace", namespace);
    await startPod(namespace, otherPort);
    await cluster.kubectl("apply", "-f", SAMPLE);
    await cluster.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "--timeout=50s");
    await cluster.apply({
      apiVersion: "model.aibrix.ai/v1alpha1",
      kind: "ModelAdapter",
      metadata: { name: NAME, namespace },
      spec: { podSelector: { matchLabels: { "model.aibrix.ai/name": BASE_MODEL } }, artifactURL: `huggingface://${repo}` },
    });
    await cluster.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "-n", namespace, "--timeout=50s");
    const held = async () => {
      const path = '{.status.conditions[?(@.type=="NameHeld")].message}';
      return await cluster.kubectl("get", "modeladapter", NAME, "-n", namespace, "-o", `jsonpath=${path}`);
    };
    expect(await held()).toBe(
      `the name ${NAME} alone means the ModelAdapter default/${NAME}, which is older: to reach this adapter, send the header model-namespace: ${namespace}`,
    );
    const asked = async (of?: string) => (await complete(url, NAME, undefined, of)).status;
    await vi.waitFor(async () => expect([await asked(), await asked(namespace)]).toEqual([200, 200]), { timeout: UP_MS, interval: 50 });
    for (let i = 0; i < 10; i++) {
      expect(await ask(url, NAME)).toMatchObject({ digest, consistent: true });
      expect(await ask(url, NAME, undefined, namespace)).toMatchObject({ digest: other, consistent: true });
    }
    await cluster.kubectl("delete", "-f", SAMPLE, "--wait", "--timeout=50s");
    await vi.waitFor(async () => expect(await ask(url, NAME)).toMatchObject({ digest: other }), { timeout: 10_000, interval: 50 });
    await vi.waitFor(async () => expect(await held()).toBe(""), { timeout: 10_000, interval: 50 });
    await cluster.kubectl("delete", "modeladapter", NAME, "-n", namespace, "--wait", "--timeout=50s");
    expect(decoyRequests).toBe(0);
  });

  test("without the controller what it wrote stays in force; every program ends with 0", async () => {
    expect(await controller.stop()).toBe(0);
    expect(await ask(url, BASE_MODEL)).toMatchObject({ model: BASE_MODEL });
    expect(await Promise.all(programs.map((program) => program.stop()))).toEqual(programs.map(() => 0));
  });
});
