import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { ADAPTER_SLICES } from "@aibrix/api";
import { type ControlPlane, ensureKubernetes, type KubernetesBinaries, startControlPlane } from "@aibrix/devcluster";
import { type Call, KubeClient, type KubeObject, type Log, loadKubeConfig, PODS, type Pod, type Resource, splitKey } from "@aibrix/kube";
import { createLogger, createRegistry, type Registry } from "@aibrix/service";
import { parseAllDocuments } from "yaml";
import { ControllerManager, ControllerMetrics, readConfig, type Timing } from "../../src/index.ts";
import type { ApiProxy } from "./api-proxy.ts";
import { FakeEngine } from "./fake-engine.ts";
import { FakePods } from "./fake-pods.ts";
import { FakeRuntime } from "./fake-runtime.ts";

const ROOT = new URL("../../../../", import.meta.url);
export const BASE = "qwen-coder-1-5b-instruct";

/** The service account that the controller ships with. */
const ACCOUNT = "aibrix-controller-manager";

const CRD: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
  namespaced: false,
};
const NAMESPACES: Resource = { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false };
const KINDS: Readonly<Record<string, Resource>> = {
  CustomResourceDefinition: CRD,
  Namespace: NAMESPACES,
  Secret: { group: "", version: "v1", plural: "secrets", kind: "Secret", namespaced: true },
  Service: { group: "", version: "v1", plural: "services", kind: "Service", namespaced: true },
  ServiceAccount: { group: "", version: "v1", plural: "serviceaccounts", kind: "ServiceAccount", namespaced: true },
  ClusterRole: { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles", kind: "ClusterRole", namespaced: false },
  ClusterRoleBinding: {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    plural: "clusterrolebindings",
    kind: "ClusterRoleBinding",
    namespaced: false,
  },
  Role: { group: "rbac.authorization.k8s.io", version: "v1", plural: "roles", kind: "Role", namespaced: true },
  RoleBinding: { group: "rbac.authorization.k8s.io", version: "v1", plural: "rolebindings", kind: "RoleBinding", namespaced: true },
  NetworkPolicy: { group: "networking.k8s.io", version: "v1", plural: "networkpolicies", kind: "NetworkPolicy", namespaced: true },
  PodDisruptionBudget: { group: "policy", version: "v1", plural: "poddisruptionbudgets", kind: "PodDisruptionBudget", namespaced: true },
  ModelAdapter: { group: "model.aibrix.ai", version: "v1alpha1", plural: "modeladapters", kind: "ModelAdapter", namespaced: true },
};

/** What a pod of a test is made of. */
export interface PodOptions {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** With the sidecar (default), or the engine alone. */
  readonly sidecar?: boolean;
  /** Engine and sidecar share a volume, at the usual path or where each of them has it. */
  readonly volume?: boolean | { readonly engine: string; readonly runtime: string };
  readonly ready?: boolean;
  readonly nodeName?: string;
  /** Its addresses; one of IPv4 where absent. */
  readonly ips?: readonly string[];
  /** Real programs in place of the fakes, by URL. */
  readonly runtimeUrl?: string;
  readonly engineUrl?: string;
}

export interface FakePod {
  readonly name: string;
  readonly key: string;
  readonly ip: string;
  readonly ips: readonly string[];
  readonly runtime: FakeRuntime;
  readonly engine: FakeEngine;
}

/** A running controller, its calls counted. */
export interface RunningController {
  readonly calls: Call[];
  readonly registry: Registry;
  /** What its log warned of. */
  readonly warnings: string[];
  readonly ended: Promise<unknown>;
  notReady(): string | undefined;
  notAlive(): string | undefined;
  /** How often it has decided about an adapter. */
  turns(): Promise<number>;
  stop(): Promise<void>;
}

/** A real control plane with our CRD and RBAC, pods that are API objects, and fakes behind their addresses. */
export class World implements AsyncDisposable {
  readonly plane: ControlPlane;
  readonly admin: KubeClient;
  readonly pods: FakePods;
  /** The pods that are there. */
  readonly made: FakePod[] = [];
  readonly #binaries: KubernetesBinaries;
  readonly #controllers = new Set<RunningController>();
  #nextIp = 1;

  private constructor(plane: ControlPlane, binaries: KubernetesBinaries, pods: FakePods) {
    this.plane = plane;
    this.pods = pods;
    this.#binaries = binaries;
    const config = loadKubeConfig({ file: plane.kubeconfig });
    this.admin = new KubeClient({ config, userAgent: "test", fieldManager: "test" });
  }

  static async start(): Promise<World> {
    const signal = AbortSignal.timeout(3_600_000);
    const binaries = await ensureKubernetes({ log: () => undefined, signal });
    const plane = await startControlPlane({ binaries }, signal);
    const world = new World(plane, binaries, await FakePods.start());
    await world.apply("deploy/namespace/namespace.yaml", "deploy/crd/model.aibrix.ai_modeladapters.yaml", "deploy/rbac/controller.yaml");
    await until("the CRD is served", () => world.kubectl("get", "modeladapters", "-A"));
    return world;
  }

  /** Applies files of the repository. */
  async apply(...files: string[]): Promise<void> {
    for (const file of files) {
      for (const document of parseAllDocuments(await readFile(new URL(file, ROOT), "utf8")))
        await this.applyObject(document.toJS() as KubeObject);
    }
  }

  async applyObject(object: KubeObject): Promise<KubeObject> {
    return await this.admin.apply(this.resource(object.kind ?? ""), object, {}, AbortSignal.timeout(30_000));
  }

  async create(object: KubeObject): Promise<KubeObject> {
    return await this.admin.create(this.resource(object.kind ?? ""), object, {}, AbortSignal.timeout(60_000));
  }

  resource(kind: string): Resource {
    const resource = KINDS[kind];
    if (resource === undefined) throw new Error(`the tests know no kind ${kind}`);
    return resource;
  }

  async get<T extends KubeObject = KubeObject>(kind: string, key: string): Promise<T | undefined> {
    return (await this.admin.find(this.resource(kind), splitKey(key), AbortSignal.timeout(30_000))) as T | undefined;
  }

  async remove(kind: string, key: string): Promise<void> {
    await this.admin.delete(this.resource(kind), splitKey(key), {}, AbortSignal.timeout(30_000));
  }

  async namespace(name: string): Promise<void> {
    await this.applyObject({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  }

  /** Runs kubectl as an administrator; what it prints. Rejects with its error output where it fails. */
  async kubectl(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(this.#binaries.kubectl, ["--kubeconfig", this.plane.kubeconfig, ...args]);
    return stdout;
  }

  /** Makes a pod that is ready (unless asked otherwise), with a sidecar and an engine that answer. */
  async pod(name: string, options: PodOptions = {}): Promise<FakePod> {
    const { namespace = "default", ready = true } = options;
    const { ips = [`10.244.${this.#nextIp >> 8}.${this.#nextIp++ & 255}`] } = options;
    const [ip = ""] = ips;
    const pod: FakePod = { name, key: `${namespace}/${name}`, ip, ips, runtime: new FakeRuntime(), engine: new FakeEngine(BASE) };
    await this.admin.create(PODS, podObject(name, options), {}, AbortSignal.timeout(30_000));
    if (options.runtimeUrl !== undefined) this.pods.map(ip, 8080, options.runtimeUrl);
    if (options.engineUrl !== undefined) this.pods.map(ip, 8000, options.engineUrl);
    this.pods.put(ip, 8080, pod.runtime);
    this.pods.put(ip, 8000, pod.engine);
    await this.setReady(pod, ready);
    this.made.push(pod);
    return pod;
  }

  /**
   * Does what a kubelet would.
   *
   * @param engineStarted - when the engine's container was started, by itself or anew
   * @param restarts - how often it was started anew
   */
  async setReady(pod: FakePod, ready: boolean, engineStarted?: Date, restarts = 1): Promise<void> {
    const lastTransitionTime = `${new Date().toISOString().slice(0, 19)}Z`;
    const status = {
      phase: "Running",
      podIP: pod.ip,
      podIPs: pod.ips.map((ip) => ({ ip })),
      ...(engineStarted === undefined ? {} : { containerStatuses: [engineStatus(engineStarted, restarts)] }),
      conditions: [{ type: "Ready", status: ready ? "True" : "False", lastTransitionTime }],
    };
    await this.admin.mergePatch(PODS, splitKey(pod.key), { status }, { subresource: "status" }, AbortSignal.timeout(30_000));
  }

  async deletePod(pod: FakePod): Promise<void> {
    this.pods.put(pod.ip, 8080, undefined);
    this.pods.put(pod.ip, 8000, undefined);
    pod.runtime.dropStreams();
    await this.admin.delete(PODS, splitKey(pod.key), { gracePeriodSeconds: 0 }, AbortSignal.timeout(30_000));
    if (this.made.includes(pod)) this.made.splice(this.made.indexOf(pod), 1);
  }

  /** Ends what a test left behind, whatever it waits for: controllers, adapters and what was made for them, pods. */
  async clear(): Promise<void> {
    await this.stopControllers();
    const signal = AbortSignal.timeout(60_000);
    for (const { metadata } of await this.admin.list(this.resource("ModelAdapter"), {}, signal)) {
      await this.admin.mergePatch(this.resource("ModelAdapter"), metadata, { metadata: { finalizers: null } }, {}, signal);
      await this.admin.delete(this.resource("ModelAdapter"), metadata, {}, signal);
    }
    // As the garbage collector would, which this control plane has not.
    await this.kubectl("delete", "services", "-A", "-l", "app.kubernetes.io/managed-by=aibrix-controller-manager");
    await this.kubectl("delete", "endpointslices", "-A", "-l", ADAPTER_SLICES);
    for (const pod of [...this.made]) await this.deletePod(pod);
  }

  /** Starts the controller, unless asked otherwise under the service account that it ships with, at the API server or at a proxy before it. */
  async controller(
    flags: readonly string[] = ["--enable-runtime-sidecar"],
    timing: Timing = {},
    proxy: ApiProxy | undefined = undefined,
    account = ACCOUNT,
  ): Promise<RunningController> {
    const config = readConfig([...flags, "--leader-elect-namespace=aibrix-system"], {});
    if (config === undefined) throw new Error("no config");
    const kubeConfig = loadKubeConfig({ file: await this.controllerKubeconfig(account, proxy) });
    const calls: Call[] = [];
    const registry = createRegistry();
    const metrics = new ControllerMetrics(registry);
    const client = new KubeClient({
      config: kubeConfig,
      userAgent: "aibrix-controller-manager",
      fieldManager: "aibrix-controller-manager",
      onCall: (call) => {
        calls.push(call);
        metrics.apiCall(call);
      },
    });
    const logger = createLogger("controller", process.env.TEST_LOG ?? "silent");
    const warnings: string[] = [];
    const log: Log = {
      debug: (fields, message) => logger.debug(fields, message),
      info: (fields, message) => logger.info(fields, message),
      warn: (fields, message) => {
        warnings.push(message);
        logger.warn(fields, message);
      },
      error: (fields, message) => logger.error(fields, message),
    };
    const manager = new ControllerManager(config, { client, metrics, log, connect: this.pods.connect, timing });
    const stop = new AbortController();
    const ended = manager.run(stop.signal).then(
      () => client.close(),
      async (error: unknown) => {
        await client.close();
        return error;
      },
    );
    const running: RunningController = {
      calls,
      registry,
      warnings,
      ended,
      notReady: () => manager.notReady(),
      notAlive: () => manager.notAlive(),
      turns: async () => {
        const { values = [] } = (await registry.getSingleMetric("aibrix_controller_reconciles_total")?.get()) ?? {};
        return values.filter((v) => v.labels.controller === "modeladapter").reduce((sum, v) => sum + v.value, 0);
      },
      stop: async () => {
        stop.abort();
        await ended;
        this.#controllers.delete(running);
      },
    };
    this.#controllers.add(running);
    return running;
  }

  /** The file of an account's kubeconfig, straight to the API server or by way of a proxy. */
  async controllerKubeconfig(account = ACCOUNT, proxy: ApiProxy | undefined = undefined): Promise<string> {
    const file = await this.plane.kubeconfigFor(account, { token: await this.#token(account) }, AbortSignal.timeout(30_000));
    if (proxy === undefined) return file;
    const config = loadKubeConfig({ file });
    // The proxy speaks plain HTTP, on this machine alone.
    config.clusters = config.clusters.map((c) => ({ ...c, server: proxy.url, skipTLSVerify: true }));
    const proxied = `${file}-${new URL(proxy.url).port}`;
    await writeFile(proxied, config.exportConfig(), { mode: 0o600 });
    return proxied;
  }

  async stopControllers(): Promise<void> {
    await Promise.all([...this.#controllers].map((c) => c.stop()));
  }

  async #token(account: string): Promise<string> {
    const send = {
      verb: "create",
      resource: "serviceaccounts",
      subresource: "token",
      method: "POST",
      path: `/api/v1/namespaces/aibrix-system/serviceaccounts/${account}/token`,
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 7200 } },
    } as const;
    const answer = (await this.admin.raw(send, AbortSignal.timeout(30_000))) as { status: { token: string } };
    return answer.status.token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopControllers();
    await this.admin.close();
    await this.pods[Symbol.asyncDispose]();
    await this.plane.stop();
  }
}

function engineStatus(started: Date, restartCount: number): object {
  const startedAt = `${started.toISOString().slice(0, 19)}Z`;
  return { name: "vllm-openai", image: "vllm", imageID: "", ready: true, restartCount, state: { running: { startedAt } } };
}

/** The seed's base model, as a pod. */
function podObject(name: string, { namespace = "default", labels, sidecar = true, volume = false, nodeName }: PodOptions): Pod {
  const usual = "/tmp/aibrix/adapters";
  const mounts = typeof volume === "object" ? volume : { engine: usual, runtime: usual };
  const mount = (mountPath: string) => (volume === false ? {} : { volumeMounts: [{ name: "adapters", mountPath }] });
  const engine = {
    name: "vllm-openai",
    image: "vllm/vllm-openai:v0.7.1",
    command: ["python3", "-m", "vllm.entrypoints.openai.api_server", "--port", "8000", "--served-model-name", BASE, "--enable-lora"],
    env: [{ name: "VLLM_ALLOW_RUNTIME_LORA_UPDATING", value: "True" }],
    ports: [{ containerPort: 8000, protocol: "TCP" }],
    ...mount(mounts.engine),
  };
  const runtime = {
    name: "aibrix-runtime",
    image: "aibrix/runtime:v0.2.1",
    command: ["aibrix_runtime", "--port", "8080"],
    ports: [{ containerPort: 8080, protocol: "TCP" }],
    ...mount(mounts.runtime),
  };
  return {
    metadata: { name, namespace, labels: { "model.aibrix.ai/name": BASE, ...labels } },
    spec: {
      ...(nodeName === undefined ? {} : { nodeName }),
      containers: sidecar ? [engine, runtime] : [engine],
      ...(volume !== false ? { volumes: [{ name: "adapters", emptyDir: {} }] } : {}),
    },
  };
}

/** A ModelAdapter for {@link BASE}. */
export function adapter(name: string, spec: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}): KubeObject {
  const object = {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name, namespace: "default", labels: { "model.aibrix.ai/name": name, "model.aibrix.ai/port": "8000" }, ...metadata },
    spec: {
      baseModel: BASE,
      podSelector: { matchLabels: { "model.aibrix.ai/name": BASE } },
      artifactURL: `huggingface://acme/${name}`,
      ...spec,
    },
  };
  return object as KubeObject;
}

/** Waits until something holds; the error says what did not, and what was seen last. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 60_000,
  everyMs = 25,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < end) {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      last = seen;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
}
