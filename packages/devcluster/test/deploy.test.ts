import { ensureGatewayCrds } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DeploymentManifest, type Manifest, ManifestPlane, manifestsOf } from "./support/manifest-plane.ts";

const OVERLAYS = ["default", "dev"] as const;

let plane: ManifestPlane;
const rendered = new Map<string, readonly Manifest[]>();

beforeAll(async () => {
  const crds = await ensureGatewayCrds({ log: console.log, signal: AbortSignal.timeout(3_600_000) });
  plane = await ManifestPlane.start();
  await plane.do("apply", "--server-side", "-f", `${crds}/gatewayapi-crds.yaml`, "-f", `${crds}/generated`);
  // A dry run of what lives in a namespace needs the namespace.
  await plane.do("apply", "--server-side", "-f", "deploy/overlays/dev/namespaces.yaml");
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

describe.each(OVERLAYS)("overlay %s", (overlay) => {
  test("the API server accepts every object", async () => {
    expect(objects(overlay).length).toBeGreaterThan(15);
    for (const object of objects(overlay))
      expect({ object: `${object.kind} ${object.metadata.name}`, refusal: await plane.refusal(object) }).toMatchObject({
        refusal: undefined,
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

test("the overlay dev needs no Envoy Gateway, and its Envoy is reached from outside", () => {
  const groups = new Set(objects("dev").map((m) => m.apiVersion.split("/")[0]));
  expect([...groups].filter((g) => g?.includes("gateway"))).toEqual([]);
  expect(find("dev", "Service", "aibrix-envoy").spec).toMatchObject({ type: "NodePort", ports: [{ port: 80, nodePort: 30_080 }] });
});

test("controller and gateway are the same in both overlays, but for their images", () => {
  for (const name of ["aibrix-controller-manager", "aibrix-gateway-plugins"]) {
    const [a, b] = OVERLAYS.map((overlay) => {
      const text = JSON.stringify(find(overlay, "Deployment", name));
      return text.replace(/"image":"[^"]*"/, "").replace(/"imagePullPolicy":"[^"]*"/, "");
    });
    expect(b).toBe(a);
  }
});

test("the overlay dev is applied as a whole, and a second time changes nothing", async () => {
  expect(await plane.do("apply", "-k", "deploy/overlays/dev")).toContain("deployment.apps/aibrix-envoy created");
  const again = (await plane.do("apply", "-k", "deploy/overlays/dev")).trim().split("\n");
  // kubectl cannot compare what was written as stringData, and says this of every such Secret.
  expect(again.filter((line) => !line.endsWith(" unchanged"))).toEqual(["secret/s3-credentials configured"]);
});
