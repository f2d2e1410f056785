// A canary led by the controller, on a real API server and through a real Envoy: shares, answers, metrics, thresholds, a controller that is killed.
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
import { FaultyEngine } from "../support/faulty-engine.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Program } from "../support/program.ts";

const NAME = "x-lora";
const IP = routableAddress() ?? "";
const UP_MS = 60_000;
const PODS = 2;
/** Requests by which a share is measured, and how many run at a time. */
const REQUESTS = 2_000;
const AT_ONCE = 20;
/** How many standard deviations a share may be off: once in two million runs it is by chance. */
const SIGMAS = 5;
const ABORT = "adapter.model.aibrix.ai/abort";
const PROMOTE = "adapter.model.aibrix.ai/promote";

interface Status {
  readonly readyReplicas?: number;
  readonly served?: { readonly artifactURL: string };
  readonly update?: { readonly state: string; readonly step?: number; readonly weight?: number; readonly stepTime?: string };
  readonly history?: readonly { readonly artifactURL: string; readonly outcome: string }[];
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[];
}

describe.skipIf(ENGINE === "vllm" || IP === "")("a canary", () => {
  const dir = mkdtempSync(join(tmpdir(), "aibrix-e2e-"));
  const programs: Program[] = [];
  const faulty: FaultyEngine[] = [];
  const digests: string[] = [];
  let controller: Program;
  let startController: () => void;
  let hub: Hub;
  let cluster: Cluster;
  let url: string;
  let metricsUrl: string;
  let asked = 0;

  function start(name: string, args: readonly string[], env: Record<string, string> = {}): Program {
    const main = join(ROOT, "packages", name, "dist/main.js");
    const program = new Program(process.execPath, [main, ...args], { POD_NAMESPACE: "aibrix-system", ...env });
    programs.push(program);
    return program;
  }

  async function answers(what: string): Promise<void> {
    await vi.waitFor(async () => expect((await fetch(what)).ok, what).toBe(true), { timeout: UP_MS, interval: 50 });
  }

  const digestOf = (text: string): string | undefined => {
    const parsed = parseAnswer(text);
    return parsed?.consistent === true ? parsed.digest : undefined;
  };

  beforeAll(async () => {
    for (const seed of [1, 2, 3]) {
      await writeAdapter(join(dir, `hub/acme/v${seed}`), { seed });
      digests.push(await adapterDigest(join(dir, `hub/acme/v${seed}`)));
    }
    await writeBaseModel(join(dir, "base"));
    hub = await startHub({ root: join(dir, "hub") });
    cluster = await Cluster.start(AbortSignal.timeout(3_600_000));
    const engines: { host: string; port: number }[] = [];
    for (let i = 0; i < PODS; i++) engines.push({ host: IP, port: await startPod(`engine-${i}`) });
    const [health, grpc, side] = [await freePort(), await freePort(), await freePort()];
    const kubeconfig = await cluster.kubeconfigOf("aibrix-controller-manager");
    startController = () => {
      controller = start("controller", [
        "--enable-runtime-sidecar",
        `--health-probe-bind-address=127.0.0.1:${health}`,
        `--kubeconfig=${kubeconfig}`,
        `--gateway-metrics-service=aibrix-gateway-plugins:${side}`,
      ]);
    };
    startController();
    const binds = [`--grpc-bind-address=127.0.0.1:${grpc}`, `--metrics-bind-address=${IP}:${side}`];
    start("gateway", ["--kubernetes", `--kubeconfig=${await cluster.kubeconfigOf("aibrix-gateway-plugins")}`, ...binds]);
    metricsUrl = `http://${IP}:${side}/metrics`;
    // As the cluster's own controller tells of the gateway's pods.
    await cluster.apply({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: "aibrix-gateway-plugins-1",
        namespace: "aibrix-system",
        labels: { "kubernetes.io/service-name": "aibrix-gateway-plugins" },
      },
      addressType: "IPv4",
      endpoints: [{ addresses: [IP] }],
      ports: [{ name: "grpc", port: grpc, protocol: "TCP" }],
    });
    await Promise.all([answers(`http://127.0.0.1:${health}/readyz`), answers(`http://${IP}:${side}/readyz`)]);
    const [listenPort, adminPort] = [await freePort(), await freePort()];
    const config = join(dir, "envoy.json");
    writeFileSync(config, JSON.stringify(envoyBootstrap({ listenPort, adminPort, extProc: { host: "127.0.0.1", port: grpc }, engines })));
    const { bin } = await ensureEnvoy({ log: () => undefined, signal: AbortSignal.timeout(240_000) });
    programs.push(new Program(bin, ["-c", config, "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1"]));
    await answers(`http://127.0.0.1:${adminPort}/ready`);
    url = `http://127.0.0.1:${listenPort}`;
    await edit("v1");
    await vi.waitFor(async () => expect((await status()).readyReplicas).toBe(PODS), { timeout: UP_MS, interval: 50 });
    await vi.waitFor(async () => expect((await complete(url, NAME)).status).toBe(200), { timeout: UP_MS, interval: 50 });
  }, 3_600_000);

  /** An engine, its sidecar and their pod, as a kubelet would tell of it. One answer in five of the third content is an error. @returns its port */
  async function startPod(name: string): Promise<number> {
    const [port, enginePort, runtimePort] = [await freePort(), await freePort(), await freePort()];
    const engine = `http://127.0.0.1:${enginePort}`;
    const engineArgs = [
      "--model",
      join(dir, "base"),
      "--served-model-name",
      BASE_MODEL,
      "--host",
      "127.0.0.1",
      "--port",
      String(enginePort),
    ];
    start("mock-engine", [...engineArgs, "--enable-lora", "--max-loras=4", "--max-lora-rank=8"], {
      VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True",
    });
    let third = 0;
    const spoils = (answer: string) => {
      const { choices } = JSON.parse(answer) as { choices: readonly { text: string }[] };
      return digestOf(choices[0]?.text ?? "") === digests[2] && third++ % 5 === 0;
    };
    faulty.push(await FaultyEngine.start(IP, port, new URL(engine), spoils));
    const artifacts = join(dir, `artifacts-${name}`);
    mkdirSync(artifacts);
    const env = { INFERENCE_ENGINE: "vllm", INFERENCE_ENGINE_ENDPOINT: engine, HF_ENDPOINT: hub.url };
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
    for (const proxy of faulty) await proxy[Symbol.asyncDispose]();
    await hub?.close();
    await cluster?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  const STEPS = [{ weight: 5 }, { weight: 50 }];
  const edit = (repo: string, canary: object = { steps: STEPS }) =>
    cluster.apply({
      apiVersion: "model.aibrix.ai/v1alpha1",
      kind: "ModelAdapter",
      metadata: { name: NAME, namespace: "default" },
      spec: {
        podSelector: { matchLabels: { "model.aibrix.ai/name": BASE_MODEL } },
        artifactURL: `huggingface://acme/${repo}`,
        rollout: { strategy: "Canary", canary },
      },
    });
  const annotate = (annotation: string) => cluster.kubectl("annotate", "modeladapter", NAME, "--overwrite", `${annotation}=${asked++}`);
  const status = async () => (JSON.parse(await cluster.kubectl("get", "modeladapter", NAME, "-o", "json")) as { status: Status }).status;
  const step = async (number: number, weight: number) => {
    const begun = { step: number, weight, stepTime: expect.any(String) };
    await vi.waitFor(async () => expect((await status()).update).toMatchObject(begun), { timeout: UP_MS, interval: 50 });
  };
  const updated = async (value: string, reason: string) =>
    await vi.waitFor(
      async () => {
        const found = (await status()).conditions?.find((c) => c.type === "Updated");
        expect(found).toMatchObject({ status: value, reason });
        return found?.message ?? "";
      },
      { timeout: UP_MS, interval: 100 },
    );

  /** How often each content answered; `error` of what was no answer of one. */
  async function measure(requests = REQUESTS): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    let left = requests;
    const client = async () => {
      while (left-- > 0) {
        const { status: code, text } = await complete(url, NAME);
        const by = code === 200 ? (digestOf(text) ?? "error") : "error";
        counts.set(by, (counts.get(by) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, client));
    return counts;
  }

  /** Waits until the gateway has seen the slices of a step: from then on its answers are measured. */
  const reached = async (digest: string | undefined) =>
    await vi.waitFor(async () => expect([...(await measure(AT_ONCE)).keys()]).toContain(digest), { timeout: UP_MS, interval: 50 });

  /** What the gateway counted, by version, and by status too where its page has it. */
  async function counted(): Promise<Record<string, number>> {
    const page = await (await fetch(metricsUrl)).text();
    const counts: Record<string, number> = {};
    for (const line of page.split("\n").filter((l) => l.includes(`model="${NAME}"`))) {
      const [, version] = /version="(\w+)"/.exec(line) ?? [];
      const [, code] = /code="(\w+)"/.exec(line) ?? [];
      const value = Number(line.slice(line.lastIndexOf(" ") + 1));
      if (line.startsWith("aibrix_gateway_version_requests_total")) counts[`${version}`] = value;
      if (line.startsWith("aibrix_gateway_version_responses_total")) counts[`${version} ${code}`] = value;
    }
    return counts;
  }

  const expectShare = (canary: number, total: number, weight: number) => {
    const share = weight / 100;
    const off = Math.abs(canary - total * share) / Math.sqrt(total * share * (1 - share));
    console.log(`at ${weight} %: ${canary} of ${total} requests, ${off.toFixed(2)} standard deviations off`);
    expect(off).toBeLessThan(SIGMAS);
  };

  test("each step sends its share to the new content, every answer is wholly one content's, and the gateway counts them by version", async () => {
    const [old = "", fresh = ""] = digests;
    await edit("v2");
    await step(1, 5);
    await reached(fresh);
    const before = await counted();
    const five = await measure();
    const after = await counted();
    expect([...five.keys()].sort()).toEqual([old, fresh].sort());
    expectShare(five.get(fresh) ?? 0, REQUESTS, 5);
    const more = (key: string) => (after[key] ?? 0) - (before[key] ?? 0);
    expect([more("canary"), more("stable")]).toEqual([five.get(fresh), five.get(old)]);
    expect([more("canary 200"), more("stable 200")]).toEqual([five.get(fresh), five.get(old)]);
    // Somebody else leads from here on.
    const { update } = await status();
    await controller.kill();
    expect([...(await measure(100)).keys()]).not.toContain("error");
    startController();
    await annotate(PROMOTE);
    await step(2, 50);
    expect((await status()).update?.stepTime).not.toBe(update?.stepTime);
    await vi.waitFor(async () => expect((await measure(100)).get(fresh)).toBeGreaterThan(25), { timeout: UP_MS });
    const half = await measure();
    expect([...half.keys()].sort()).toEqual([old, fresh].sort());
    expectShare(half.get(fresh) ?? 0, REQUESTS, 50);
    await annotate(PROMOTE);
    await updated("True", "Updated");
    expect(await measure(200)).toEqual(new Map([[fresh, 200]]));
  });

  test("one error in five ends it within the step, and the old content answers all again", async () => {
    const [, fresh = "", bad = ""] = digests;
    await edit("v3", { steps: [{ weight: 25, duration: "10m" }, { weight: 50 }], abortOn: { errorPercent: 10, minRequests: 50 } });
    await step(1, 25);
    let message = "";
    const users = (async () => {
      while (message === "") await measure(AT_ONCE);
    })();
    try {
      message = await updated("False", "UpdateAborted");
    } finally {
      message ||= "none";
      await users;
    }
    expect(message).toMatch(/\d+ of \d+ responses of the new content were errors/);
    console.log(message);
    const { update, history } = await status();
    expect(update).toMatchObject({ state: "Failed", step: 1, weight: 0 });
    expect(history?.[0]).toMatchObject({ artifactURL: "huggingface://acme/v3", outcome: "Aborted" });
    expect(faulty.reduce((sum, proxy) => sum + proxy.spoilt, 0)).toBeGreaterThan(0);
    await vi.waitFor(async () => expect((await measure(AT_ONCE)).get(bad)).toBeUndefined(), { timeout: UP_MS });
    expect(await measure(200)).toEqual(new Map([[fresh, 200]]));
    expect((await status()).update?.state).toBe("Failed");
  });

  test("an abort by annotation leaves nobody with the new content", async () => {
    const [old = "", fresh = ""] = digests;
    await edit("v1");
    await step(1, 5);
    await reached(old);
    await annotate(ABORT);
    await updated("False", "UpdateAborted");
    await vi.waitFor(async () => expect(await measure(200)).toEqual(new Map([[fresh, 200]])), { timeout: UP_MS });
  });
});
