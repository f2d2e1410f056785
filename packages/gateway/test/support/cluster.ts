import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ANNOTATION_CANARY_WEIGHT } from "@aibrix/api";
import { type ControlPlane, ensureKubernetes, startControlPlane } from "@aibrix/devcluster";
import {
  ENDPOINT_SLICES,
  type EndpointSlice,
  KubeClient,
  type KubeObject,
  loadKubeConfig,
  NAMESPACES,
  PODS,
  type Pod,
  type Resource,
} from "@aibrix/kube";
import { until } from "./wait.ts";

const ADAPTERS: Resource = {
  group: "model.aibrix.ai",
  version: "v1alpha1",
  plural: "modeladapters",
  kind: "ModelAdapter",
  namespaced: true,
};
const DEPLOY = fileURLToPath(new URL("../../../../deploy/", import.meta.url));
const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";

/** A pod that a test has made. */
export interface TestPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly ip: string;
}

const inTime = (): AbortSignal => AbortSignal.timeout(30_000);

/** A real control plane with the CRD and the gateway's RBAC; the test writes what kubelet and controller would. */
export class TestCluster implements AsyncDisposable {
  readonly plane: ControlPlane;
  /** Of the service account that the gateway ships with. */
  readonly kubeconfig: string;
  readonly #admin: KubeClient;

  private constructor(plane: ControlPlane, kubeconfig: string, admin: KubeClient) {
    this.plane = plane;
    this.kubeconfig = kubeconfig;
    this.#admin = admin;
  }

  static async start(): Promise<TestCluster> {
    const signal = AbortSignal.timeout(3_600_000);
    const binaries = await ensureKubernetes({ log: (line) => void process.stderr.write(`${line}\n`), signal });
    const plane = await startControlPlane({ binaries }, signal);
    const files = ["namespace/namespace.yaml", "crd/model.aibrix.ai_modeladapters.yaml", "rbac/gateway.yaml"];
    for (const file of files) {
      await promisify(execFile)(binaries.kubectl, ["--kubeconfig", plane.kubeconfig, "apply", "--server-side", "-f", `${DEPLOY}${file}`]);
    }
    const admin = new KubeClient({ config: loadKubeConfig({ file: plane.kubeconfig }), userAgent: "test", fieldManager: "test" });
    await until("the CRD is served", async () => (await admin.listPage(ADAPTERS, {}, inTime())).items);
    const send = {
      verb: "create",
      resource: "serviceaccounts",
      subresource: "token",
      method: "POST",
      path: "/api/v1/namespaces/aibrix-system/serviceaccounts/aibrix-gateway-plugins/token",
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 7_200 } },
    } as const;
    const { status } = (await admin.raw(send, inTime())) as { readonly status: { readonly token: string } };
    const kubeconfig = await plane.kubeconfigFor("gateway", { token: status.token }, inTime());
    return new TestCluster(plane, kubeconfig, admin);
  }

  async namespace(name: string): Promise<void> {
    await this.#admin.create(NAMESPACES, { metadata: { name } }, {}, inTime());
  }

  /** Makes an engine's pod that is Ready. It stands on a node, so that it stays for its grace period when it is deleted. */
  async pod(namespace: string, name: string, ip: string, labels: Readonly<Record<string, string>>): Promise<TestPod> {
    const pod: Pod = {
      metadata: { name, namespace, labels },
      spec: { nodeName: "node-1", containers: [{ name: "engine", image: "none" }] },
    };
    const { metadata } = await this.#admin.create(PODS, pod, {}, inTime());
    const made: TestPod = { namespace, name, uid: metadata.uid ?? "", ip };
    await this.setReady(made, true);
    return made;
  }

  async setReady({ namespace, name, ip }: TestPod, ready: boolean): Promise<void> {
    const status = {
      phase: "Running",
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: "Ready", status: ready ? "True" : "False", lastTransitionTime: "2026-01-01T00:00:00Z" }],
    };
    await this.#admin.mergePatch(PODS, { namespace, name }, { status }, { subresource: "status" }, inTime());
  }

  async deletePod({ namespace, name }: TestPod, gracePeriodSeconds: number): Promise<void> {
    await this.#admin.delete(PODS, { namespace, name }, { gracePeriodSeconds }, inTime());
  }

  /** Declares an adapter, with a status as the controller writes it. */
  async adapter(namespace: string, name: string, ready: { readonly status: "True" | "False"; readonly reason: string }): Promise<void> {
    const spec = {
      baseModel: "base",
      podSelector: { matchLabels: { "model.aibrix.ai/name": "base" } },
      artifactURL: "s3://secret-bucket/x",
    };
    const object = { apiVersion: "model.aibrix.ai/v1alpha1", kind: "ModelAdapter", metadata: { name, namespace }, spec };
    await this.#admin.create(ADAPTERS, object as KubeObject, {}, inTime());
    const condition = { type: "Ready", ...ready, message: "says secret-bucket", lastTransitionTime: "2026-01-01T00:00:00Z" };
    const status = { phase: ready.status === "True" ? "Running" : "Bound", conditions: [condition] };
    await this.#admin.mergePatch(ADAPTERS, { namespace, name }, { status }, { subresource: "status" }, inTime());
  }

  /** Asks for other content. */
  async editAdapter(namespace: string, name: string, artifactURL: string): Promise<void> {
    await this.#admin.mergePatch(ADAPTERS, { namespace, name }, { spec: { artifactURL } }, {}, inTime());
  }

  /** Changes an adapter's status; `null` takes a field away. */
  async adapterStatus(namespace: string, name: string, status: object): Promise<void> {
    await this.#admin.mergePatch(ADAPTERS, { namespace, name }, { status }, { subresource: "status" }, inTime());
  }

  async deleteAdapter(namespace: string, name: string): Promise<void> {
    await this.#admin.delete(ADAPTERS, { namespace, name }, {}, inTime());
  }

  /** Writes an adapter's slice as the controller does; `ips` puts other addresses in the place of the pods' own. */
  async slice(namespace: string, adapter: string, pods: readonly TestPod[], ips?: readonly string[]): Promise<void> {
    await this.#admin.apply(ENDPOINT_SLICES, sliceObject(namespace, adapter, 8000, pods, ips), {}, inTime());
  }

  /** Writes the slice of the pods that have an adapter's content on trial, as the controller does; without pods there is none. */
  async canarySlice(namespace: string, adapter: string, pods: readonly TestPod[], weight: number): Promise<void> {
    const { metadata, ...rest } = sliceObject(namespace, adapter, 8000, pods);
    const name = `${adapter}-ipv4-8000-canary-0`;
    if (pods.length === 0) {
      await this.#admin.delete(ENDPOINT_SLICES, { namespace, name }, {}, inTime());
      return;
    }
    const annotations = { [ANNOTATION_CANARY_WEIGHT]: `${weight}` };
    await this.#admin.apply(ENDPOINT_SLICES, { ...rest, metadata: { ...metadata, name, annotations } }, {}, inTime());
  }

  /** Writes the slice of `aibrix-engines` for a port: what Envoy can connect to. */
  async engines(port: number, pods: readonly TestPod[]): Promise<void> {
    await this.#admin.apply(ENDPOINT_SLICES, sliceObject("aibrix-system", "aibrix-engines", port, pods), {}, inTime());
  }

  async deleteEngines(port: number): Promise<void> {
    const name = `aibrix-engines-ipv4-${port}-0`;
    await this.#admin.delete(ENDPOINT_SLICES, { namespace: "aibrix-system", name }, {}, inTime());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin.close();
    await this.plane.stop();
  }
}

function sliceObject(namespace: string, service: string, port: number, pods: readonly TestPod[], ips?: readonly string[]): EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${service}-ipv4-${port}-0`,
      namespace,
      labels: { "kubernetes.io/service-name": service, [MANAGED_BY]: "aibrix-controller-manager" },
    },
    addressType: "IPv4",
    endpoints: pods.map((pod, i) => ({
      addresses: [ips?.[i] ?? pod.ip],
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: { kind: "Pod", namespace: pod.namespace, name: pod.name, uid: pod.uid },
    })),
    ports: [{ name: "http", port, protocol: "TCP" }],
  };
}
