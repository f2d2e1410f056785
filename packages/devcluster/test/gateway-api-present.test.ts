// A cluster whose provider manages the Gateway API's CRDs, of the standard channel: what the guide says to leave out, and that the rest fits.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse, stringify } from "yaml";
import { ENVOY_GATEWAY_NAMESPACE, renderChart } from "../src/cluster/dependency.ts";
import { ensureHelm } from "../src/parts/envoy-gateway.ts";
import { ensureGatewayCharts, ensureGatewayCrds } from "../src/parts/gateway-charts.ts";
import { run } from "../src/parts/run.ts";
import { WORKSPACE } from "../src/stack/paths.ts";
import { type Manifest, ManifestPlane, manifestsOf } from "./support/manifest-plane.ts";

const parts = { log: console.log, signal: AbortSignal.timeout(3_600_000) };
const GATEWAY_API = /\.gateway\.networking\.(x-)?k8s\.io$/;

let plane: ManifestPlane;
let scratch: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "aibrix-gateway-api-"));
  plane = await ManifestPlane.start();
  const standard = await crdsChart("--set", "crds.gatewayAPI.enabled=true", "--set", "crds.gatewayAPI.channel=standard");
  await applied("provider.yaml", standard);
  // What lives in a namespace needs it even for a dry run, and a pod needs its class.
  for (const first of ["namespace", "crd", "priority-class"]) await plane.do("apply", "--server-side", "-k", `deploy/${first}`);
  await plane.do("create", "namespace", ENVOY_GATEWAY_NAMESPACE);
}, 3_600_000);
afterAll(async () => {
  await plane?.[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

async function crdsChart(...flags: readonly string[]): Promise<string> {
  const [{ bin }, { crds }] = [await ensureHelm(parts), await ensureGatewayCharts(parts)];
  return await run({ argv: [bin, "template", "eg-crds", crds, ...flags] }, parts.signal);
}

async function applied(name: string, text: string): Promise<void> {
  writeFileSync(join(scratch, name), text);
  await plane.do("apply", "--server-side", "-f", join(scratch, name));
  await plane.crdsServed();
}

/** The block of the guide that holds a text. */
function block(language: string, holds: string): string {
  const guide = readFileSync(join(WORKSPACE, "docs/guides/install.md"), "utf8");
  const blocks = [...guide.matchAll(/```(\w+)\n([\s\S]*?)```/g)].flatMap(([, kind, text = ""]) => (kind === language ? [text] : []));
  const found = blocks.filter((text) => text.includes(holds));
  expect(found, holds).toHaveLength(1);
  return found[0] ?? "";
}

const namesOf = (manifests: readonly Manifest[]) => manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();

test("the CRDs that come with Envoy Gateway are refused there", { timeout: 120_000 }, async () => {
  const crds = join(await ensureGatewayCrds(parts), "gatewayapi-crds.yaml");
  // A policy begins to act a moment after it was written.
  await vi.waitFor(
    async () => {
      const { status, out } = await plane.kubectl(["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", crds]);
      expect({ status, out }).toMatchObject({ status: 1, out: expect.stringMatching(/experimental CRDs on top of standard.*prohibited/) });
    },
    { timeout: 60_000, interval: 1_000 },
  );
});

describe("by the guide's commands for helm", () => {
  let envoyGateway: readonly Manifest[];

  beforeAll(async () => {
    const commands = block("sh", "gateway-crds-helm").replaceAll("\\\n", " ").trim().split("\n");
    const [crds = [], install = []] = commands.map((line) =>
      [...line.replace(/\|.*/, "").matchAll(/--set \S+/g)].flatMap(([flag]) => flag.split(" ")),
    );
    await applied("own.yaml", await crdsChart(...crds));
    envoyGateway = manifestsOf(await renderChart(["--include-crds", ...install], parts));
  }, 600_000);

  test("Envoy Gateway's own CRDs come beside the provider's, which stay as they are", async () => {
    const { items } = JSON.parse(await plane.do("get", "crds", "-o", "json")) as {
      items: readonly (Manifest & { metadata: { annotations: Record<string, string> } })[];
    };
    const api = items.filter(({ metadata }) => GATEWAY_API.test(metadata.name));
    expect(api.length).toBeGreaterThan(5);
    for (const { metadata } of api) expect(metadata.annotations["gateway.networking.k8s.io/channel"]).toBe("standard");
    const generated = readdirSync(join(await ensureGatewayCrds(parts), "generated")).length;
    expect(items.filter(({ metadata }) => metadata.name.endsWith(".gateway.envoyproxy.io"))).toHaveLength(generated);
  });

  test("the API server takes Envoy Gateway without CRDs, with Lua", async () => {
    expect(namesOf(envoyGateway).filter((name) => /CustomResourceDefinition|ValidatingAdmission/.test(name))).toEqual([]);
    for (const object of envoyGateway)
      expect({ object: `${object.kind} ${object.metadata.name}`, refusal: await plane.refusal(object) }).toMatchObject({
        refusal: undefined,
      });
    const config = envoyGateway.find(({ kind }) => kind === "ConfigMap") as Manifest & { data: Record<string, string> };
    expect(parse(config.data["envoy-gateway.yaml"] ?? "")).toMatchObject({ extensionApis: { enableLua: true } });
  });

  test.each(["default", "direct-engine", "ha"])("the API server takes every object of the overlay %s", async (overlay) => {
    const { status, out } = await plane.kubectl(["apply", "--server-side", "--dry-run=server", "-k", `deploy/overlays/${overlay}`]);
    expect({ status, out }).toMatchObject({ status: 0 });
    expect(out).toContain("httproute.gateway.networking.k8s.io/aibrix-models");
  });

  test("the guide's kustomization leaves out the same of deploy/dependency", { timeout: 300_000 }, async () => {
    const dir = mkdtempSync(join(scratch, "site-"));
    writeFileSync(join(dir, "install.yaml"), await renderChart(["--include-crds"], parts));
    const dependency = parse(readFileSync(join(WORKSPACE, "deploy/dependency/kustomization.yaml"), "utf8")) as {
      patches: readonly object[];
    };
    const printed = parse(block("yaml", "deploy/dependency")) as { resources: readonly string[]; patches: readonly object[] };
    expect(printed.resources).toEqual(["../aibrix/deploy/dependency"]);
    const both = { ...printed, resources: ["install.yaml"], patches: [...dependency.patches, ...printed.patches] };
    writeFileSync(join(dir, "kustomization.yaml"), stringify(both));
    const rendered = manifestsOf(await plane.do("kustomize", dir));
    const own = manifestsOf(await crdsChart("--set", "crds.envoyGateway.enabled=true"));
    expect(own.length).toBeGreaterThan(5);
    expect(namesOf(rendered)).toEqual(namesOf([...own, ...envoyGateway]));
  });
});
