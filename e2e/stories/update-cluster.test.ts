// An update by the controller, on a real API server: a ModelAdapter is edited under constant streams, on one pod and on two.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureEnvoy, envoyBootstrap, type Hub, startHub, writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { adapterDigest, parseAnswer } from "@aibrix/mock-engine";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE, ROOT } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { Cluster, routableAddress } from "../support/control-plane.ts";
import { freePort } from "../support/engine.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Program } from "../support/program.ts";
import { UpdateClients } from "../support/update-clients.ts";

const NAME = "x-lora";
const IP = routableAddress() ?? "";
const UP_MS = 60_000;
const CLIENTS = 50;

describe.skipIf(ENGINE === "vllm" || IP === "").each([
  { pods: 1, what: "one pod" },
  { pods: 2, what: "two pods" },
])("$what", ({ pods }) => {
  const dir = mkdtempSync(join(tmpdir(), "aibrix-e2e-"));
  const programs: Program[] = [];
  let hub: Hub;
  let cluster: Cluster;
  let url: string;
  const digests: string[] = [];

  function start(name: string, args: readonly string[], env: Record<string, string> = {}): void {
    const main = join(ROOT, "packages", name, "dist/main.js");
    programs.push(new Program(process.execPath, [main, ...args], { POD_NAMESPACE: "aibrix-system", ...env }));
  }

  async function answers(what: string): Promise<void> {
    const look = async () => {
      for (const program of programs) program.check();
      expect((await fetch(what)).ok, what).toBe(true);
    };
    await vi.waitFor(look, { timeout: UP_MS, interval: 50 });
  }

  beforeAll(async () => {
    for (const seed of [1, 2, 3]) {
      await writeAdapter(join(dir, `hub/acme/v${seed}`), { seed });
      digests.push(await adapterDigest(join(dir, `hub/acme/v${seed}`)));
    }
    await writeAdapter(join(dir, "hub/acme/wide"), { seed: 4, rank: 16 });
    await writeBaseModel(join(dir, "base"));
    hub = await startHub({ root: join(dir, "hub") });
    cluster = await Cluster.start(AbortSignal.timeout(3_600_000));
    const engines: { host: string; port: number }[] = [];
    for (let i = 0; i < pods; i++) engines.push({ host: IP, port: await startPod(`engine-${i}`) });
    const [health, grpc, side] = [await freePort(), await freePort(), await freePort()];
    start("controller", [
      "--enable-runtime-sidecar",
      `--health-probe-bind-address=127.0.0.1:${health}`,
      `--kubeconfig=${await cluster.kubeconfigOf("aibrix-controller-manager")}`,
    ]);
    const binds = [`--grpc-bind-address=127.0.0.1:${grpc}`, `--metrics-bind-address=127.0.0.1:${side}`];
    start("gateway", ["--kubernetes", `--kubeconfig=${await cluster.kubeconfigOf("aibrix-gateway-plugins")}`, ...binds]);
    await Promise.all([answers(`http://127.0.0.1:${health}/readyz`), answers(`http://127.0.0.1:${side}/readyz`)]);
    const [listenPort, adminPort] = [await freePort(), await freePort()];
    const config = join(dir, "envoy.json");
    writeFileSync(config, JSON.stringify(envoyBootstrap({ listenPort, adminPort, extProc: { host: "127.0.0.1", port: grpc }, engines })));
    const { bin } = await ensureEnvoy({ log: () => undefined, signal: AbortSignal.timeout(240_000) });
    programs.push(new Program(bin, ["-c", config, "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1"]));
    await answers(`http://127.0.0.1:${adminPort}/ready`);
    url = `http://127.0.0.1:${listenPort}`;
    await edit("v1");
    await cluster.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "--timeout=50s");
    await vi.waitFor(async () => expect((await complete(url, NAME)).status).toBe(200), { timeout: UP_MS, interval: 50 });
    await vi.waitFor(async () => expect((await status()).readyReplicas).toBe(pods), { timeout: UP_MS, interval: 50 });
  });

  /** An engine, its sidecar and their pod, as a kubelet would tell of it. @returns the engine's port */
  async function startPod(name: string): Promise<number> {
    const [port, runtimePort] = [await freePort(), await freePort()];
    const engineArgs = ["--model", join(dir, "base"), "--served-model-name", BASE_MODEL, "--host", IP, "--port", String(port)];
    start("mock-engine", [...engineArgs, "--enable-lora", "--max-loras=4", "--max-lora-rank=8"], {
      VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True",
    });
    const artifacts = join(dir, `artifacts-${name}`);
    mkdirSync(artifacts);
    const env = { INFERENCE_ENGINE: "vllm", INFERENCE_ENGINE_ENDPOINT: `http://${IP}:${port}`, HF_ENDPOINT: hub.url };
    start("runtime", [`--host=${IP}`, `--port=${runtimePort}`, `--artifacts-dir=${artifacts}`], env);
    await answers(`http://${IP}:${runtimePort}/ready`);
    const volumeMounts = [{ name: "adapters", mountPath: artifacts }];
    const labels = { "model.aibrix.ai/name": BASE_MODEL, "model.aibrix.ai/port": `${port}`, "model.aibrix.ai/max-lora-rank": "8" };
    const command = ["aibrix_runtime", "--port", `${runtimePort}`, `--artifacts-dir=${artifacts}`];
    await cluster.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default", labels },
      spec: {
        automountServiceAccountToken: false,
        containers: [
          { name: "vllm-openai", image: "vllm/vllm-openai:v0.7.1", ports: [{ containerPort: port }], volumeMounts },
          { name: "aibrix-runtime", image: "aibrix/runtime:v0.2.1", command, volumeMounts },
        ],
        volumes: [{ name: "adapters", emptyDir: {} }],
      },
    });
    const condition = { type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" };
    const told = JSON.stringify({ status: { phase: "Running", podIP: IP, podIPs: [{ ip: IP }], conditions: [condition] } });
    await cluster.kubectl("patch", "pod", name, "-n", "default", "--subresource=status", "--type=merge", "-p", told);
    return port;
  }

  afterAll(async () => {
    await Promise.all(programs.map((program) => program.stop()));
    await hub?.close();
    await cluster?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  const edit = (repo: string) =>
    cluster.apply({
      apiVersion: "model.aibrix.ai/v1alpha1",
      kind: "ModelAdapter",
      metadata: { name: NAME, namespace: "default" },
      spec: { podSelector: { matchLabels: { "model.aibrix.ai/name": BASE_MODEL } }, artifactURL: `huggingface://acme/${repo}` },
    });

  const status = async () =>
    (JSON.parse(await cluster.kubectl("get", "modeladapter", NAME, "-o", "json")) as { status: Record<string, unknown> }).status;

  const madeBy = (text: string): string | undefined => {
    const parsed = parseAnswer(text);
    return parsed?.consistent === true ? parsed.digest : undefined;
  };

  test("edits under constant streams: no request fails, each answer is one content's, and none is older once Updated is True", async () => {
    const clients = new UpdateClients(url, NAME, CLIENTS);
    const since = (ms: number) => clients.answers.filter((a) => a.startedMs > ms);
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(CLIENTS), { timeout: UP_MS, interval: 20 });
    await edit("v2");
    // The new generation, not the old one that is Ready, too.
    await cluster.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "--timeout=120s");
    const doneMs = performance.now();
    expect(await status()).toMatchObject({ readyReplicas: pods, served: { artifactURL: "huggingface://acme/v2" } });
    await cluster.kubectl("wait", "--for=condition=Updated", `modeladapter/${NAME}`, "--timeout=1s");
    await vi.waitFor(() => expect(since(doneMs).length).toBeGreaterThan(2 * CLIENTS), { timeout: UP_MS, interval: 20 });
    await clients.stop();
    expect(clients.failures).toEqual([]);
    const [old, fresh] = digests;
    expect(clients.answers.filter((a) => ![old, fresh].includes(madeBy(a.text)))).toEqual([]);
    expect(since(doneMs).filter((a) => madeBy(a.text) !== fresh)).toEqual([]);
    expect(clients.answers.some((a) => madeBy(a.text) === old)).toBe(true);
  });

  test("what is bad changes nothing for clients, is told, and does not satisfy a wait for it; an edit mends it", async () => {
    const clients = new UpdateClients(url, NAME, 4);
    for (const [repo, reason] of [
      ["not-there", "ArtifactNotFound"],
      ["wide", "ArtifactUnfit"],
    ] as const) {
      await edit(repo);
      await cluster.kubectl("wait", "--for=condition=Updated=False", `modeladapter/${NAME}`, "--timeout=60s");
      await vi.waitFor(async () => expect(await status()).toMatchObject({ update: { state: "Failed", reason } }), {
        timeout: UP_MS,
        interval: 50,
      });
      await expect(cluster.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "--timeout=1s")).rejects.toThrow("timed out");
    }
    await edit("v3");
    await cluster.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "--timeout=120s");
    await clients.stop();
    expect(clients.failures).toEqual([]);
    expect(new Set(clients.answers.map((a) => madeBy(a.text)))).toEqual(new Set(digests.slice(1)));
  });
});
