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
const OVERLAYS = ["default", "direct-engine", "ha", "byo-gateway", "namespaced"] as const;
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
    expect(deployments.length).toBe(/byo|namespaced/.test(overlay) ? 1 : 2);
    for (const { metadata, spec } of deployments) {
      const { name, namespace } = metadata;
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
}
const envoyDeployment = (overlay: Overlay) =>
  find<Manifest & { spec: { provider: { kubernetes: { envoyDeployment: EnvoyDeployment } } } }>(overlay, "EnvoyProxy", "aibrix-eg").spec
    .provider.kubernetes.envoyDeployment;
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
  async function listed(account: string, namespace: string): Promise<readonly string[]> {
    const as = `--as=system:serviceaccount:aibrix-system:${account}`;
    const [, ...lines] = (await plane.do("auth", "can-i", "--list", as, "-n", namespace)).trimEnd().split("\n");
    return lines.map((line) => line.replaceAll(/ {2,}/g, "  ").trim()).sort();
  }

  /** What an account may do beyond what every account may. */
  async function rights(account: string, namespace: string): Promise<string> {
    const everybody = await listed("nobody-in-particular", namespace);
    const own = (await listed(account, namespace)).filter((line) => !everybody.includes(line));
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
      ],
    },
  ] as const)("of $overlay are those that were reviewed", async ({ overlay, asked }) => {
    await plane.do("apply", "--server-side", "-k", `deploy/overlays/${overlay}`);
    const texts: string[] = [];
    for (const [account, namespace] of asked) texts.push(await rights(account, namespace));
    const text = texts.join("\n");
    const file = join(GOLDEN, `${overlay}.txt`);
    if (process.env.UPDATE_GOLDEN !== undefined) writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, "utf8"));
  });

  test("no account may do everything with anything, list Secrets, or run something in a pod", async () => {
    for (const account of [MANAGER, PLUGINS, `${MANAGER}-models`])
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
