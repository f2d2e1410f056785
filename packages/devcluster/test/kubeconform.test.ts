// Every overlay by kubeconform, with the schemas of the API server that the tests use, and of the CRDs that the overlays need.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureGatewayCrds } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { renderDependency } from "../src/cluster/dependency.ts";
import { ensureHelm } from "../src/parts/envoy-gateway.ts";
import { ensureKubeconform } from "../src/parts/kubeconform.ts";
import { ManifestPlane, manifestsOf } from "./support/manifest-plane.ts";
import { type OpenApi, SCHEMA_LOCATION, writeSchemas } from "./support/schemas.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const OVERLAYS = readdirSync(join(ROOT, "deploy/overlays"));
const COMPONENTS = readdirSync(join(ROOT, "deploy/components"));
const SAMPLES = readdirSync(join(ROOT, "samples"), { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".yaml"));
const context = { log: (line: string) => console.log(line), signal: AbortSignal.timeout(3_600_000) };

let plane: ManifestPlane;
let kubeconform: string;
let schemas: string;

beforeAll(async () => {
  kubeconform = await ensureKubeconform(context);
  await ensureHelm(context);
  const crds = await ensureGatewayCrds(context);
  schemas = mkdtempSync(join(tmpdir(), "aibrix-schemas-"));
  plane = await ManifestPlane.start();
  await plane.do(
    "apply",
    "--server-side",
    "-f",
    `${crds}/gatewayapi-crds.yaml`,
    "-f",
    `${crds}/generated`,
    "-f",
    "deploy/crd/model.aibrix.ai_modeladapters.yaml",
  );
  await plane.crdsServed();
  // The kinds of a CRD are told a moment after it is served.
  const wanted = ["apps/v1 Deployment", "v1 Service", "model.aibrix.ai/v1alpha1 ModelAdapter"];
  const told = ["gateway.networking.k8s.io/v1 Gateway", "gateway.envoyproxy.io/v1alpha1 EnvoyExtensionPolicy"];
  await vi.waitFor(
    async () => expect(await writeSchemas(await documents(), schemas)).toEqual(expect.arrayContaining([...wanted, ...told])),
    { timeout: 120_000, interval: 500 },
  );
}, 3_600_000);

afterAll(async () => {
  await plane?.[Symbol.asyncDispose]();
  rmSync(schemas, { recursive: true, force: true });
});

async function documents(): Promise<readonly OpenApi[]> {
  const { paths } = JSON.parse(await plane.do("get", "--raw", "/openapi/v3")) as {
    paths: Readonly<Record<string, { serverRelativeURL: string }>>;
  };
  const found = Object.entries(paths).filter(([path]) => /^apis?\/.*v\d/.test(path));
  return await Promise.all(
    found.map(async ([, { serverRelativeURL }]) => JSON.parse(await plane.do("get", "--raw", serverRelativeURL)) as OpenApi),
  );
}

/** What kubeconform says of manifests: `statusValid`, or what is wrong, of each. */
function judge(yaml: string): readonly { readonly object: string; readonly status: string; readonly msg: string }[] {
  const args = ["-strict", "-verbose", "-output=json", `-schema-location=${join(schemas, SCHEMA_LOCATION)}`, "-"];
  const { stdout, stderr } = spawnSync(kubeconform, args, { input: yaml, encoding: "utf8", timeout: 120_000 });
  expect(stderr).toBe("");
  const { resources } = JSON.parse(stdout) as { resources: readonly { kind: string; name: string; status: string; msg: string }[] };
  return resources.map(({ kind, name, status, msg }) => ({ object: `${kind} ${name}`, status, msg }));
}

function expectValid(yaml: string): void {
  const said = judge(yaml);
  expect(said.length).toBeGreaterThan(0);
  expect(said.filter(({ status }) => status !== "statusValid")).toEqual([]);
}

test.each(OVERLAYS)("overlay %s", async (overlay) => {
  expectValid(await plane.do("kustomize", `deploy/overlays/${overlay}`));
});

test.each(COMPONENTS)("overlay default with the component %s", async (component) => {
  const dir = mkdtempSync(join(ROOT, "deploy/.kubeconform-"));
  try {
    const up = (path: string) => relative(dir, join(ROOT, "deploy", path));
    writeFileSync(
      join(dir, "kustomization.yaml"),
      stringify({ resources: [up("overlays/default")], components: [up(`components/${component}`)] }),
    );
    expectValid(await plane.do("kustomize", dir));
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test.each(SAMPLES)("samples/%s", (file) => {
  expectValid(readFileSync(join(ROOT, "samples", file), "utf8"));
});

test("deploy/dependency", async () => {
  const text = await renderDependency((dir) => plane.do("kustomize", dir), undefined, schemas, context);
  const objects = manifestsOf(text).filter(({ kind }) => kind !== "CustomResourceDefinition");
  // The chart has a null there, which the API server takes for nothing.
  for (const { metadata } of objects as { metadata: { creationTimestamp?: unknown } }[])
    if (metadata.creationTimestamp === null) delete metadata.creationTimestamp;
  expectValid(objects.map((object) => stringify(object)).join("---\n"));
});

describe("a mistake is seen:", () => {
  // biome-ignore lint/suspicious/noExplicitAny: any field of any object is changed.
  type Any = any;
  const PLUGINS = "aibrix-gateway-plugins";

  test.each([
    {
      mistake: "a misspelt field",
      kind: "Deployment",
      change: (m: Any) => Object.assign(m.spec.template.spec.containers[0], { imagePullPolice: "Always" }),
      says: /imagePullPolice/,
    },
    { mistake: "a number as text", kind: "Deployment", change: (m: Any) => Object.assign(m.spec, { replicas: "two" }), says: /replicas/ },
    { mistake: "a field that is missing", kind: "Deployment", change: (m: Any) => delete m.spec.selector, says: /selector/ },
    {
      mistake: "a field that a CRD does not have",
      kind: "EnvoyExtensionPolicy",
      change: (m: Any) => Object.assign(m.spec.extProc[0], { failOpened: true }),
      says: /failOpened/,
    },
    {
      mistake: "a value that a CRD does not know",
      kind: "EnvoyExtensionPolicy",
      change: (m: Any) => Object.assign(m.spec.lua[0], { type: "Referenz" }),
      says: /type/,
    },
    {
      mistake: "a kind that is not there",
      kind: "Deployment",
      change: (m: Any) => Object.assign(m, { apiVersion: "apps/v2" }),
      says: /could not find schema/,
    },
  ])("$mistake", async ({ kind, change, says }) => {
    const objects = manifestsOf(await plane.do("kustomize", "deploy/overlays/default"));
    const object = structuredClone(objects.find((m) => m.kind === kind && m.metadata.name === PLUGINS));
    expect(object).toBeDefined();
    change(object);
    const [said] = judge(stringify(object));
    expect(said?.status).not.toBe("statusValid");
    expect(said?.msg).toMatch(says);
  });
});
