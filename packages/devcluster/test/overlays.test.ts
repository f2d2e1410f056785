// The overlays that users install, on a real API server.
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ENVOY_GATEWAY_VERSION, ensureGatewayCrds } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type DeploymentManifest, type Manifest, ManifestPlane, manifestsOf } from "./support/manifest-plane.ts";
import { mayCall, type PolicyPod } from "./support/network-policy.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const GOLDEN = fileURLToPath(new URL("./testdata/rights/", import.meta.url));
const OVERLAYS = ["default", "direct-engine", "ha", "byo-gateway", "namespaced", "endpoint-picker"] as const;
type Overlay = (typeof OVERLAYS)[number];

const MANAGER = "aibrix-controller-manager";
const PLUGINS = "aibrix-gateway-plugins";

let plane: ManifestPlane;
let gatewayCrds: string;
const rendered = new Map<Overlay, readonly Manifest[]>();

beforeAll(async () => {
  gatewayCrds = await ensureGatewayCrds({ log: console.log, signal: AbortSignal.timeout(3_600_000) });
  plane = await ManifestPlane.start();
  await plane.do("apply", "--server-side", "-f", `${gatewayCrds}/gatewayapi-crds.yaml`, "-f", `${gatewayCrds}/generated`);
  // What lives in a namespace needs it even for a dry run, and a pod needs its class.
  for (const first of ["namespace", "crd", "priority-class"]) await plane.do("apply", "--server-side", "-k", `deploy/${first}`);
  await plane.do("create", "namespace", "models");
  await plane.crdsServed();
  for (const overlay of OVERLAYS) rendered.set(overlay, manifestsOf(await plane.do("kustomize", `deploy/overlays/${overlay}`)));
}, 3_600_000);

afterAll(async () => {
  await plane?.[Symbol.asyncDispose]();
});

const objects = (overlay: Overlay): readonly Manifest[] => rendered.get(overlay) ?? [];
const names = (overlay: Overlay, kind: string) => objects(overlay).flatMap((m) => (m.kind === kind ? [m.metadata.name] : []));

function find<T extends Manifest>(overlay: Overlay, kind: string, name: string): T {
  const found = objects(overlay).find((m) => m.kind === kind && m.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name} in ${overlay}`);
  return structuredClone(found) as T;
}

describe.each(OVERLAYS)("overlay %s", (overlay) => {
  test("the API server accepts every object, and warns of none", async () => {
    expect(objects(overlay).length).toBeGreaterThan(5);
    for (const object of objects(overlay))
      expect({ object: `${object.kind} ${object.metadata.name}`, refusal: await plane.refusal(object) }).toMatchObject({
        refusal: undefined,
      });
    const { status, out } = await plane.kubectl(["apply", "--server-side", "--dry-run=server", "-k", `deploy/overlays/${overlay}`]);
    expect({ status, out }).toMatchObject({ status: 0 });
    expect(out).not.toMatch(/warning/i);
  });

  test("its pods pass the Pod Security Standard restricted, and have a limit, probes and no write access to their root", async () => {
    const deployments = objects(overlay).filter((m): m is DeploymentManifest => m.kind === "Deployment");
    expect(deployments.length).toBe(/byo-gateway|endpoint-picker/.test(overlay) ? 1 : 2);
    for (const { metadata, spec } of deployments) {
      const { name } = metadata;
      // Where the standard is asked for, wherever the overlay has it.
      const namespace = "aibrix-system";
      const pod = { apiVersion: "v1", kind: "Pod", metadata: { ...spec.template.metadata, name, namespace }, spec: spec.template.spec };
      expect({ name, refusal: await plane.refusal(pod) }).toMatchObject({ refusal: undefined });
      const loose = { ...pod, spec: { ...pod.spec, securityContext: {} } };
      expect(await plane.refusal(loose)).toContain('violates PodSecurity "restricted');
      expect(pod.spec.containers).toHaveLength(1);
      expect(pod.spec.containers[0]).toMatchObject({
        startupProbe: expect.anything(),
        livenessProbe: expect.anything(),
        readinessProbe: expect.anything(),
        resources: { requests: { cpu: expect.anything(), memory: expect.anything() }, limits: { memory: expect.anything() } },
        securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
      });
    }
  });

  test("what selects a Deployment's pods selects them: budget, policy, spread", () => {
    for (const { metadata, spec } of objects(overlay).filter((m): m is DeploymentManifest => m.kind === "Deployment")) {
      const { labels } = spec.template.metadata;
      const budget = find<Manifest & { spec: { selector: { matchLabels: object } } }>(overlay, "PodDisruptionBudget", metadata.name);
      const policy = find<Manifest & { spec: { podSelector: { matchLabels: object } } }>(overlay, "NetworkPolicy", metadata.name);
      expect(labels).toMatchObject(budget.spec.selector.matchLabels);
      expect(labels).toMatchObject(policy.spec.podSelector.matchLabels);
      const { topologySpreadConstraints } = spec.template.spec as unknown as Record<string, { labelSelector: { matchLabels: object } }[]>;
      expect(topologySpreadConstraints).toHaveLength(2);
      for (const { labelSelector } of topologySpreadConstraints ?? []) expect(labels).toMatchObject(labelSelector.matchLabels);
    }
  });
});

const args = (overlay: Overlay, name = MANAGER) =>
  find<DeploymentManifest>(overlay, "Deployment", name).spec.template.spec.containers[0]?.args;
const replicas = (overlay: Overlay, name: string) =>
  (find(overlay, "Deployment", name) as Manifest & { spec: { replicas: number } }).spec.replicas;
interface EnvoyDeployment {
  readonly replicas: number;
  readonly container: { readonly resources: object };
  readonly pod: { readonly labels?: Readonly<Record<string, string>> };
}
type EnvoyProxy = Manifest & {
  readonly spec: { readonly provider: { readonly kubernetes: { readonly envoyDeployment: EnvoyDeployment } } };
};
const envoyDeployment = (overlay: Overlay) => find<EnvoyProxy>(overlay, "EnvoyProxy", "aibrix-eg").spec.provider.kubernetes.envoyDeployment;
const envoys = (overlay: Overlay) => envoyDeployment(overlay).replicas;

test("Envoy's container has requests, and a limit of memory", () => {
  expect(envoyDeployment("default").container.resources).toEqual({
    requests: { cpu: expect.any(String), memory: expect.any(String) },
    limits: { memory: expect.any(String) },
  });
});

test("direct-engine differs from default by the flag alone", () => {
  expect(args("default")).toContain("--enable-runtime-sidecar");
  expect(args("direct-engine")).toEqual(args("default")?.filter((a) => a !== "--enable-runtime-sidecar"));
  const without = (overlay: Overlay) => objects(overlay).filter((m) => m.kind !== "Deployment" || m.metadata.name !== MANAGER);
  expect(without("direct-engine")).toEqual(without("default"));
});

test("ha has two of each, with a leader elected, and the budgets let one of them go at a time", () => {
  expect([replicas("ha", MANAGER), replicas("ha", PLUGINS), envoys("ha")]).toEqual([2, 2, 2]);
  expect([replicas("default", MANAGER), replicas("default", PLUGINS), envoys("default")]).toEqual([1, 1, 1]);
  expect(args("ha")).toContain("--leader-elect");
  for (const name of [MANAGER, PLUGINS]) expect(find("ha", "PodDisruptionBudget", name).spec).toMatchObject({ maxUnavailable: 1 });
});

test("the kustomization of the guide gives images their names and adds a component, without an edit of the overlay", async () => {
  const guide = readFileSync(join(ROOT, "docs/guides/install.md"), "utf8");
  const texts = [...guide.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = ""]) => text);
  const text = texts.find((t) => /^images:$/m.test(t)) ?? "";
  const dir = mkdtempSync(join(tmpdir(), "kustomization-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "kustomization.yaml"), text.replaceAll("../aibrix", relative(realpathSync(dir), realpathSync(ROOT))));
  const ours = manifestsOf(await plane.do("kustomize", dir)).filter((m): m is DeploymentManifest => m.kind === "Deployment");
  expect(ours.map(({ spec }) => spec)).toMatchObject(
    ["controller-manager", "gateway-plugins"].map((name) => ({
      replicas: 2,
      template: { spec: { containers: [{ image: `registry.example.com/aibrix/${name}:v0.1.0` }] } },
    })),
  );
});

test("byo-gateway has HTTPRoutes and nothing of the gateway plugin or Envoy Gateway", () => {
  expect(args("byo-gateway")).toEqual([...(args("default") ?? []), "--enable-httproutes", "--httproute-gateway=gateways/main"]);
  expect(
    objects("byo-gateway")
      .map((m) => `${m.apiVersion} ${m.kind} ${m.metadata.name}`)
      .filter((t) => /gateway-plugins|networking.*Gateway|envoyproxy/.test(t)),
  ).toEqual([]);
  expect(names("byo-gateway", "ClusterRole")).toContain("aibrix-controller-manager-httproutes");
  expect(names("default", "ClusterRole")).not.toContain("aibrix-controller-manager-httproutes");
});

test("namespaced has nothing of the whole cluster, and its programs look at its namespace", () => {
  const ofAll = objects("namespaced").filter((m) => m.metadata.namespace === undefined);
  expect(ofAll.map((m) => `${m.kind} ${m.metadata.name}`)).toEqual([]);
  for (const name of [MANAGER, PLUGINS]) expect(args("namespaced", `${name}-models`)).toContain("--namespace=models");
  const service = find<Manifest & { spec: { selector: object } }>("namespaced", "Service", `${PLUGINS}-models`);
  expect(args("namespaced", `${MANAGER}-models`)).toContain(`--gateway-metrics-service=${service.metadata.name}:8080`);
  const { spec } = find<DeploymentManifest>("namespaced", "Deployment", `${PLUGINS}-models`);
  expect(spec.template.metadata.labels).toMatchObject(service.spec.selector);
});

test("endpoint-picker has the Service in the pool's namespace, and looks for aibrix-engines where the controller writes it", () => {
  const { metadata, spec } = find<Manifest & { spec: { selector: object; ports: readonly object[] } }>(
    "endpoint-picker",
    "Service",
    PLUGINS,
  );
  expect(metadata.namespace).toBe("default");
  expect(spec.ports).toMatchObject([{ port: 50_052, appProtocol: "kubernetes.io/h2c" }]);
  const deployment = find<DeploymentManifest>("endpoint-picker", "Deployment", PLUGINS);
  expect(deployment.metadata.namespace).toBe("default");
  expect(deployment.spec.template.metadata.labels).toMatchObject(spec.selector);
  const [container] = deployment.spec.template.spec.containers as unknown as { args: readonly string[]; env: readonly object[] }[];
  expect(container?.args).toContain("--namespace=default");
  expect(container?.env).toContainEqual({ name: "POD_NAMESPACE", value: "aibrix-system" });
});

test("the built-in roles view, edit and admin take ModelAdapters in, and nobody gets their status to write", () => {
  const role = (name: string) =>
    find<Manifest & { rules: readonly { resources: readonly string[]; verbs: readonly string[] }[] }>("default", "ClusterRole", name);
  const to = (name: string) =>
    Object.entries(role(name).metadata.labels ?? {}).flatMap(([k, v]) =>
      k.includes("aggregate") && v === "true" ? [k.split("/")[1]] : [],
    );
  expect(to("aibrix-modeladapters-view")).toEqual(["aggregate-to-admin", "aggregate-to-edit", "aggregate-to-view"]);
  expect(to("aibrix-modeladapters-edit")).toEqual(["aggregate-to-admin", "aggregate-to-edit"]);
  expect(role("aibrix-modeladapters-view").rules.flatMap((r) => r.verbs)).toEqual(["get", "list", "watch"]);
  expect(role("aibrix-modeladapters-edit").rules.flatMap((r) => r.resources)).toEqual(["modeladapters"]);
});

describe("rights", () => {
  /** Lines of `kubectl auth can-i --list`, squeezed and sorted. */
  async function listed(account: string, namespace: string, of = "aibrix-system"): Promise<readonly string[]> {
    const as = `--as=system:serviceaccount:${of}:${account}`;
    const [, ...lines] = (await plane.do("auth", "can-i", "--list", as, "-n", namespace)).trimEnd().split("\n");
    return lines.map((line) => line.replaceAll(/ {2,}/g, "  ").trim()).sort();
  }

  /** What an account may do beyond what every account may. */
  async function rights(account: string, namespace: string, of?: string): Promise<string> {
    const everybody = await listed("nobody-in-particular", namespace, of);
    const own = (await listed(account, namespace, of)).filter((line) => !everybody.includes(line));
    return `# ${account} in ${namespace}\n${own.map((line) => `${line}\n`).join("")}`;
  }

  // In this order: the later ones are applied besides.
  test.each([
    {
      overlay: "default",
      asked: [
        [MANAGER, "default"],
        [MANAGER, "aibrix-system"],
        [PLUGINS, "default"],
        [PLUGINS, "aibrix-system"],
      ],
    },
    { overlay: "byo-gateway", asked: [[MANAGER, "default"]] },
    {
      overlay: "namespaced",
      asked: [
        [`${MANAGER}-models`, "models"],
        [`${MANAGER}-models`, "aibrix-system"],
        [`${MANAGER}-models`, "default"],
        [`${PLUGINS}-models`, "models"],
        [`${PLUGINS}-models`, "aibrix-system"],
        [`${PLUGINS}-models`, "default"],
      ],
    },
    {
      overlay: "endpoint-picker",
      asked: [
        [PLUGINS, "default", "default"],
        [PLUGINS, "aibrix-system", "default"],
        [PLUGINS, "models", "default"],
      ],
    },
  ] as const)("of $overlay are those that were reviewed", async ({ overlay, asked }) => {
    await plane.do("apply", "--server-side", "-k", `deploy/overlays/${overlay}`);
    const texts: string[] = [];
    for (const [account, namespace, of] of asked) texts.push(await rights(account, namespace, of));
    const text = texts.join("\n");
    const file = join(GOLDEN, `${overlay}.txt`);
    if (process.env.UPDATE_GOLDEN !== undefined) writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, "utf8"));
  });

  test("no account may do everything with anything, list Secrets, or run something in a pod", async () => {
    for (const account of [MANAGER, PLUGINS, `${MANAGER}-models`, `${PLUGINS}-models`])
      for (const namespace of ["default", "aibrix-system", "models"]) {
        const lines = await listed(account, namespace);
        expect(lines.filter((l) => /^\*|^[^[].*\*|^pods\/exec|^secrets .*(list|watch)/.test(l))).toEqual([]);
      }
  });
});

describe("network policies", () => {
  const sample = () => manifestsOf(readFileSync(join(ROOT, "samples/network-policies/engines.yaml"), "utf8"));
  const policies = () => [...objects("default"), ...sample().map((p) => ({ ...p, metadata: { ...p.metadata, namespace: "default" } }))];
  const ours = (name: string, namespace = "aibrix-system"): PolicyPod => ({ namespace, labels: { "app.kubernetes.io/name": name } });
  const envoy = (namespace = "envoy-gateway-system", owner = "aibrix-eg"): PolicyPod => ({
    namespace,
    labels: {
      "gateway.envoyproxy.io/owning-gateway-name": owner,
      "gateway.envoyproxy.io/owning-gateway-namespace": "aibrix-system",
    },
  });
  const engine: PolicyPod = { namespace: "default", labels: { "model.aibrix.ai/name": "qwen-coder-1-5b-instruct" } };
  const prometheus: PolicyPod = { namespace: "monitoring", namespaceLabels: { "model.aibrix.ai/scrapes": "true" }, labels: {} };
  const plugins = ours(PLUGINS);
  const manager = ours(MANAGER);

  test.each([
    { from: "Envoy", pod: envoy(), may: ["plugin grpc", "engine"] },
    { from: "Envoy beside the plugin", pod: envoy("aibrix-system"), may: ["plugin grpc", "engine"] },
    { from: "Envoy of another Gateway", pod: envoy("envoy-gateway-system", "other"), may: [] },
    { from: "a pod with Envoy's labels elsewhere", pod: envoy("default"), may: [] },
    { from: "the plugin", pod: plugins, may: ["engine"] },
    { from: "a pod with the plugin's label elsewhere", pod: ours(PLUGINS, "default"), may: [] },
    { from: "the controller", pod: manager, may: ["engine", "sidecar", "plugin metrics"] },
    { from: "a pod with the controller's label elsewhere", pod: ours(MANAGER, "default"), may: [] },
    { from: "who reads metrics", pod: prometheus, may: ["plugin metrics", "controller metrics", "sidecar"] },
    { from: "a neighbour of the engine", pod: { namespace: "default", labels: { app: "client" } }, may: [] },
    { from: "another engine", pod: engine, may: [] },
    { from: "a pod of another namespace", pod: { namespace: "team", labels: {} }, may: [] },
  ] as const)("$from may call: $may", ({ pod, may }) => {
    const targets = {
      "plugin grpc": [plugins, 50_052, "grpc"],
      "plugin metrics": [plugins, 8080, "metrics"],
      "controller health": [manager, 8081, "health"],
      "controller metrics": [manager, 8443, "metrics"],
      engine: [engine, 8000],
      sidecar: [engine, 8080],
      "another port of the engine's pod": [engine, 9000],
    } as const;
    const found = Object.entries(targets).flatMap(([name, [to, ...port]]) => (mayCall(policies(), pod, to, port) ? [name] : []));
    expect([...found].sort()).toEqual([...may].sort());
  });

  test.each([
    { from: "Envoy of its Gateway", labels: { "gateway.envoyproxy.io/owning-gateway-name": "aibrix-eg-models" }, may: ["grpc"] },
    { from: "Envoy of another Gateway", labels: { "gateway.envoyproxy.io/owning-gateway-name": "aibrix-eg" }, may: [] },
    { from: "its controller", labels: { "app.kubernetes.io/name": MANAGER }, may: ["metrics"] },
  ])("$from may call the plugin of one namespace: $may", ({ labels, may }) => {
    const plugin = find<DeploymentManifest>("namespaced", "Deployment", `${PLUGINS}-models`).spec.template.metadata;
    const { pod } = find<EnvoyProxy>("namespaced", "EnvoyProxy", "aibrix-eg-models").spec.provider.kubernetes.envoyDeployment;
    // Envoy Gateway gives its own labels and those of the EnvoyProxy; the controller has those of the overlay.
    const all = { "gateway.envoyproxy.io/owning-gateway-namespace": "aibrix-system", ...pod.labels, ...labels };
    const found = ["grpc", "metrics"].filter((port) =>
      mayCall(objects("namespaced"), { namespace: "aibrix-system", labels: all }, { namespace: "aibrix-system", labels: plugin.labels }, [
        port,
      ]),
    );
    expect(found).toEqual(may);
  });

  test.each([
    { from: "the gateway's data plane", pod: { namespace: "gateways", labels: {} }, may: ["grpc"] },
    { from: "who reads metrics", pod: prometheus, may: ["metrics"] },
    { from: "a neighbour", pod: { namespace: "default", labels: {} }, may: [] },
  ])("$from may call the endpoint picker: $may", ({ pod, may }) => {
    const picker = {
      namespace: "default",
      labels: find<DeploymentManifest>("endpoint-picker", "Deployment", PLUGINS).spec.template.metadata.labels,
    };
    expect(["grpc", "metrics"].filter((port) => mayCall(objects("endpoint-picker"), pod, picker, [port]))).toEqual(may);
  });

  test("the sample is accepted as it stands", async () => {
    const { status, out } = await plane.kubectl([
      "apply",
      "--dry-run=server",
      "--validate=strict",
      "-f",
      "samples/network-policies/engines.yaml",
    ]);
    expect({ status, out }).toMatchObject({ status: 0 });
  });
});

test("versions are the same wherever they are written", () => {
  const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
  const gatewayApi = /gateway\.networking\.k8s\.io\/bundle-version: (v\S+)/.exec(
    readFileSync(`${gatewayCrds}/gatewayapi-crds.yaml`, "utf8"),
  );
  expect(read("deploy/dependency/kustomization.yaml")).toContain(`/releases/download/${ENVOY_GATEWAY_VERSION}/install.yaml`);
  expect(read("deploy/dependency/kustomization.yaml")).toContain(`version ${gatewayApi?.[1]?.slice(1)} `);
  const guide = read("docs/guides/install.md");
  expect(guide).toContain(`--version ${ENVOY_GATEWAY_VERSION} `);
  expect(guide).toContain(`| Envoy Gateway | ${ENVOY_GATEWAY_VERSION.slice(1)} |`);
  expect(guide).toContain(`| Gateway API | ${gatewayApi?.[1]?.slice(1)} |`);
});
