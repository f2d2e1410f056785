import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type ControlPlane, ensureGatewayCrds, ensureKubernetes, startControlPlane } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";

const DEPLOY = fileURLToPath(new URL("../../../deploy/", import.meta.url));

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

let plane: ControlPlane;
let kubectlPath: string;
let rendered: Manifest[];

beforeAll(async () => {
  const context = { log: console.log, signal: AbortSignal.timeout(3_600_000) };
  const [binaries, crds] = [await ensureKubernetes(context), await ensureGatewayCrds(context)];
  plane = await startControlPlane({ binaries }, context.signal);
  kubectlPath = binaries.kubectl;
  const files = ["-f", `${crds}/gatewayapi-crds.yaml`, "-f", `${crds}/generated`];
  expect(await kubectl(["apply", "--server-side", ...files])).toMatchObject({ status: 0 });
  expect(await kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])).toMatchObject({ status: 0 });
  expect(await kubectl(["create", "namespace", "aibrix-system"])).toMatchObject({ status: 0 });
  const { status, out } = await kubectl(["kustomize", `${DEPLOY}overlays/default`]);
  expect({ status, out }).toMatchObject({ status: 0 });
  rendered = parseAllDocuments(out).map((d) => d.toJS() as Manifest);
}, 3_600_000);

afterAll(async () => {
  await plane?.stop();
});

function kubectl(args: readonly string[], input?: string): Promise<{ readonly status: number; readonly out: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(kubectlPath, ["--kubeconfig", plane.kubeconfig, ...args], { stdio: ["pipe", "pipe", "pipe"], timeout: 120_000 });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ status: code ?? -1, out }));
    child.stdin.end(input ?? "");
  });
}

/** What the API server says to an object; undefined where it would take it. */
async function refusal(object: unknown): Promise<string | undefined> {
  const { status, out } = await kubectl(
    ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"],
    JSON.stringify(object),
  );
  return status === 0 ? undefined : out;
}

function find(kind: string, name: string): Manifest {
  const found = rendered.find((m) => m.kind === kind && m.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return structuredClone(found);
}

test("the API server accepts every object of the default overlay", async () => {
  expect(rendered.length).toBeGreaterThan(15);
  for (const object of rendered)
    expect({ object: `${object.kind} ${object.metadata.name}`, refusal: await refusal(object) }).toMatchObject({ refusal: undefined });
});

test.each([
  { kind: "BackendTrafficPolicy", name: "aibrix-models", field: "loadBalancer" },
  { kind: "ClientTrafficPolicy", name: "aibrix-eg", field: "connection" },
  { kind: "EnvoyExtensionPolicy", name: "aibrix-gateway-plugins", field: "targetRefs" },
  { kind: "HTTPRoute", name: "aibrix-models", field: "rules" },
])("it would refuse a $kind with a misspelt $field", async ({ kind, name, field }) => {
  const object = find(kind, name);
  const { [field]: value, ...rest } = object.spec as Record<string, unknown>;
  expect(await refusal({ ...object, spec: { ...rest, [`${field}x`]: value } })).toMatch(/unknown field|not declared in schema/);
});

test("the controller is started as documented", () => {
  const { spec } = find("Deployment", "aibrix-controller-manager") as unknown as {
    spec: { template: { spec: { containers: { args: string[]; securityContext: Record<string, unknown> }[] } } };
  };
  const [container] = spec.template.spec.containers;
  expect(container?.args).toEqual([
    "--leader-elect",
    "--health-probe-bind-address=:8081",
    "--metrics-bind-address=0",
    "--enable-runtime-sidecar",
  ]);
  expect(container?.securityContext).toMatchObject({ readOnlyRootFilesystem: true, allowPrivilegeEscalation: false });
});
