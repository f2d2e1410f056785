import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ENVOY_GATEWAY_VERSION, ensureGatewayCrds, programFile } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { parse, stringify } from "yaml";
import { ENVOY_GATEWAY_NAMESPACE, renderChart, renderDependency } from "../src/cluster/dependency.ts";
import { WORKSPACE } from "../src/stack/paths.ts";
import { type DeploymentManifest, type Manifest, ManifestPlane, manifestsOf } from "./support/manifest-plane.ts";

const OVERLAYS = ["default", "dev"] as const;
const parts = { log: console.log, signal: AbortSignal.timeout(3_600_000) };

let plane: ManifestPlane;
const rendered = new Map<string, readonly Manifest[]>();

beforeAll(async () => {
  const crds = await ensureGatewayCrds(parts);
  plane = await ManifestPlane.start();
  await plane.do("apply", "--server-side", "-f", `${crds}/gatewayapi-crds.yaml`, "-f", `${crds}/generated`);
  // A dry run of what lives in a namespace needs the namespace.
  await plane.do("apply", "--server-side", "-k", "deploy/namespace");
  await plane.do("apply", "--server-side", "-f", "deploy/overlays/dev/namespace.yaml");
  // And that of a pod its class.
  await plane.do("apply", "--server-side", "-k", "deploy/priority-class");
  await plane.crdsServed();
  for (const overlay of OVERLAYS) rendered.set(overlay, manifestsOf(await plane.do("kustomize", `deploy/overlays/${overlay}`)));
}, 3_600_000);

afterAll(async () => {
  await plane?.[Symbol.asyncDispose]();
});

function objects(overlay: string): readonly Manifest[] {
  return rendered.get(overlay) ?? [];
}

function find(overlay: string, kind: string, name: string): Manifest {
  const found = objects(overlay).find((m) => m.kind === kind && m.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name} in ${overlay}`);
  return structuredClone(found);
}

function deployments(overlay: string): readonly DeploymentManifest[] {
  return objects(overlay).filter((m): m is DeploymentManifest => m.kind === "Deployment");
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe.each(OVERLAYS)("overlay %s", (overlay) => {
  test("the API server accepts every object", async () => {
    expect(objects(overlay).length).toBeGreaterThan(15);
    for (const object of objects(overlay))
      expect({ object: `${object.kind} ${object.metadata.name}`, refusal: await plane.refusal(object) }).toMatchObject({
        refusal: undefined,
      });
  });

  test("no probe ends controller or gateway while they start on a busy node", () => {
    const probed = deployments(overlay).filter((d) => /^aibrix-(controller-manager|gateway-plugins)$/.test(d.metadata.name));
    expect(probed).toHaveLength(2);
    for (const { spec } of probed)
      expect(spec.template.spec.containers[0]).toMatchObject({
        startupProbe: { failureThreshold: 120 },
        livenessProbe: { timeoutSeconds: 5 },
      });
  });

  test("every pod may run in a namespace with the Pod Security Standard restricted", async () => {
    expect(find(overlay, "Namespace", "aibrix-system").metadata.labels).toMatchObject({
      "pod-security.kubernetes.io/enforce": "restricted",
    });
    expect(deployments(overlay).length).toBeGreaterThan(1);
    for (const { metadata, spec } of deployments(overlay)) {
      const { name, namespace } = metadata;
      const { metadata: podMetadata, spec: podSpec } = spec.template;
      const pod = { apiVersion: "v1", kind: "Pod", metadata: { ...podMetadata, name, namespace }, spec: podSpec };
      expect({ name, refusal: await plane.refusal(pod) }).toMatchObject({ refusal: undefined });
      for (const container of [...(podSpec.initContainers ?? []), ...podSpec.containers])
        expect({ name, ...container.securityContext }).toMatchObject({
          name,
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
        });
      const [first, ...others] = podSpec.containers;
      const loose = { ...podSpec, containers: [{ ...first, securityContext: { allowPrivilegeEscalation: true } }, ...others] };
      expect(await plane.refusal({ ...pod, spec: loose })).toContain('violates PodSecurity "restricted');
    }
  });

  test("the controller is started as documented", () => {
    const { spec } = find(overlay, "Deployment", "aibrix-controller-manager") as DeploymentManifest;
    expect(spec.template.spec.containers[0]?.args).toEqual([
      "--leader-elect",
      "--health-probe-bind-address=:8081",
      "--metrics-bind-address=0",
      "--enable-runtime-sidecar",
    ]);
  });
});

test.each([
  { kind: "BackendTrafficPolicy", name: "aibrix-models", field: "loadBalancer" },
  { kind: "ClientTrafficPolicy", name: "aibrix-eg", field: "connection" },
  { kind: "EnvoyExtensionPolicy", name: "aibrix-gateway-plugins", field: "targetRefs" },
  { kind: "HTTPRoute", name: "aibrix-models", field: "rules" },
])("it would refuse a $kind with a misspelt $field", async ({ kind, name, field }) => {
  const object = find("default", kind, name);
  const { [field]: value, ...rest } = object.spec as Record<string, unknown>;
  expect(await plane.refusal({ ...object, spec: { ...rest, [`${field}x`]: value } })).toMatch(/unknown field|not declared in schema/);
});

test("the overlay dev is the overlay default with images of this checkout, and a Hub and an S3 server beside it", () => {
  const names = (overlay: string) => objects(overlay).map((m) => `${m.kind} ${m.metadata.namespace ?? ""}/${m.metadata.name}`);
  const added = names("dev").filter((name) => !names("default").includes(name));
  expect(names("default").filter((name) => !names("dev").includes(name))).toEqual([]);
  expect(added).toContain("Namespace /aibrix-dev");
  expect(added.filter((name) => !name.includes("aibrix-dev"))).toEqual([]);
  const withoutImages = (overlay: string, name: string) =>
    JSON.stringify(objects(overlay).filter((m) => `${m.kind} ${m.metadata.namespace ?? ""}/${m.metadata.name}` === name))
      .replaceAll(/"image":"[^"]*"/g, "")
      .replaceAll(/"imagePullPolicy":"[^"]*"/g, "");
  for (const name of names("default")) expect(withoutImages("dev", name)).toBe(withoutImages("default", name));
});

describe("what deploy/dependency applies, with the release's file made of its chart", () => {
  interface Rule {
    readonly apiGroups?: readonly string[];
    readonly resources?: readonly string[];
    readonly verbs: readonly string[];
  }
  let scratch: string;
  let items: readonly Manifest[];

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "aibrix-dependency-"));
    items = await dependency();
    await plane.do("create", "namespace", ENVOY_GATEWAY_NAMESPACE);
    await plane.do("label", "namespace", ENVOY_GATEWAY_NAMESPACE, "pod-security.kubernetes.io/enforce=restricted");
  }, 3_600_000);
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  async function dependency(imageRegistry?: string): Promise<readonly Manifest[]> {
    const text = await renderDependency((dir) => plane.do("kustomize", dir), imageRegistry, scratch, parts);
    return manifestsOf(text).filter(({ kind }) => kind !== "CustomResourceDefinition");
  }

  function settings(manifests: readonly Manifest[]): unknown {
    const [config, ...others] = manifests.filter(({ kind }) => kind === "ConfigMap") as (Manifest & { data: Record<string, string> })[];
    expect(others).toEqual([]);
    return parse(config?.data["envoy-gateway.yaml"] ?? "");
  }

  const withPods = () => items.filter((m): m is DeploymentManifest => m.kind === "Deployment" || m.kind === "Job");

  test("is taken by the API server, and its pods are restricted", async () => {
    for (const item of items)
      expect({ object: `${item.kind} ${item.metadata.name}`, refusal: await plane.refusal(item) }).toMatchObject({ refusal: undefined });
    expect(withPods()).toHaveLength(2);
    for (const { kind, metadata, spec } of withPods()) {
      const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { ...spec.template.spec, serviceAccountName: undefined } };
      expect({ kind, refusal: await plane.refusal(pod) }).toMatchObject({ refusal: undefined });
    }
  });

  test("has the settings that helm gives it by the guide's command, Lua among them", async () => {
    const guide = readFileSync(join(WORKSPACE, "docs/guides/install.md"), "utf8");
    const [, flags = ""] = /^helm install eg oci:.*\\\n((?: .*\n)+)```/m.exec(guide) ?? [];
    expect(flags).toContain("--set ");
    const byHelm = settings(manifestsOf(await renderChart(flags.trim().split(/\s+/), parts)));
    expect(settings(items)).toEqual(byHelm);
    expect(byHelm).toMatchObject({ kind: "EnvoyGateway", extensionApis: { enableLua: true } });
  });

  test("pins one Envoy Gateway, in its Deployment, in its Job, and beside Envoy", () => {
    const { resources } = parse(readFileSync(join(WORKSPACE, "deploy/dependency/kustomization.yaml"), "utf8"));
    expect(resources).toEqual([expect.stringContaining(`/download/${ENVOY_GATEWAY_VERSION}/install.yaml`)]);
    const image = `docker.io/envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`;
    for (const { spec } of withPods()) expect(spec.template.spec.containers).toMatchObject([{ image }]);
    expect(settings(items)).toMatchObject({ provider: { kubernetes: { shutdownManager: { image } } } });
  });

  test("names every image at a registry of the user's", async () => {
    const objects = await dependency("registry.example/dev");
    const named = [objects.map((object) => stringify(object)).join("---\n"), stringify(settings(objects))];
    const images = named.flatMap((text) => [...text.matchAll(/^ *(?:- )?image: (.*)$/gm)].map(([, image]) => image));
    const ours = `registry.example/dev/envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`;
    // Of the ConfigMap's text the first pass sees them too.
    expect([...new Set(images)].sort()).toEqual([ours, "registry.example/dev/envoyproxy/ratelimit:8fe6ea42"]);
  });

  test("gives Envoy Gateway no right to everything", () => {
    const bound = items.filter(({ kind }) => kind.endsWith("RoleBinding")).map((m) => (m.roleRef as { name: string }).name);
    const roles = items.filter(({ kind }) => kind === "Role" || kind === "ClusterRole");
    expect([...bound].sort()).toEqual(roles.map(({ metadata }) => metadata.name).sort());
    const rules = roles.flatMap((m) => m.rules as readonly Rule[]);
    expect(rules.length).toBeGreaterThan(10);
    for (const { apiGroups = [], resources = [], verbs } of rules) expect([...apiGroups, ...resources, ...verbs]).not.toContain("*");
  });
});

test("the overlay dev is applied as a whole, and a second time changes nothing", async () => {
  expect(await plane.do("apply", "-k", "deploy/overlays/dev")).toContain("gateway.gateway.networking.k8s.io/aibrix-eg created");
  const again = (await plane.do("apply", "-k", "deploy/overlays/dev")).trim().split("\n");
  // kubectl cannot compare what was written as stringData, and sends a budget's selector, and lists of custom resources in which the API server
  // fills in defaults, anew each time: it says this of all of them.
  expect(again.filter((line) => !line.endsWith(" unchanged"))).toEqual([
    "secret/s3-credentials configured",
    "poddisruptionbudget.policy/aibrix-controller-manager configured",
    "poddisruptionbudget.policy/aibrix-gateway-plugins configured",
    "envoyextensionpolicy.gateway.envoyproxy.io/aibrix-gateway-plugins configured",
    "gateway.gateway.networking.k8s.io/aibrix-eg configured",
    "httproute.gateway.networking.k8s.io/aibrix-models configured",
  ]);
});

test.each([
  { deployment: "aibrix-controller-manager", program: "controller" },
  { deployment: "aibrix-gateway-plugins", program: "gateway" },
])("$deployment starts with its own arguments and rights, and its probes answer", async ({ deployment, program }) => {
  const { spec } = find("dev", "Deployment", deployment) as DeploymentManifest;
  const [container] = spec.template.spec.containers;
  // Each port becomes a free one of this machine; flags and probes must mean the same.
  let args = container?.args ?? [];
  const moved = new Map<string, number>();
  for (const { name, containerPort } of container?.ports ?? []) {
    const port = await freePort();
    moved.set(name, port);
    expect(args.filter((a) => a.endsWith(`=:${containerPort}`))).toHaveLength(1);
    args = args.map((a) => a.replace(`=:${containerPort}`, `=127.0.0.1:${port}`));
  }
  const kubeconfig = await plane.kubeconfigOf(spec.template.spec.serviceAccountName);
  const child = spawn(process.execPath, [programFile(program), ...args, `--kubeconfig=${kubeconfig}`], {
    env: { PATH: process.env.PATH, POD_NAMESPACE: "aibrix-system", POD_NAME: deployment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  const ended = once(child, "close");
  onTestFinished(() => void child.kill("SIGKILL"));
  const { livenessProbe, readinessProbe } = container ?? {};
  for (const probe of [livenessProbe, readinessProbe]) {
    const { path = "", port = "" } = probe?.httpGet ?? {};
    const url = `http://127.0.0.1:${moved.get(port)}${path}`;
    const answers = async () => expect({ url, output, status: (await fetch(url)).status }).toMatchObject({ status: 200 });
    await vi.waitFor(answers, { timeout: 60_000, interval: 100 });
  }
  expect(output).not.toContain("forbidden");
  child.kill("SIGTERM");
  expect({ ended: await ended, output }).toMatchObject({ ended: [0, null] });
});
