import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, parseAllDocuments, stringify } from "yaml";
import { ensureHelm } from "../parts/envoy-gateway.ts";
import { ensureGatewayCharts, ensureGatewayCrds } from "../parts/gateway-charts.ts";
import type { PartContext } from "../parts/part-context.ts";
import { run } from "../parts/run.ts";
import { WORKSPACE } from "../stack/paths.ts";
import { imageAt, readManifests } from "./manifests.ts";

/** Where Envoy Gateway lives. */
export const ENVOY_GATEWAY_NAMESPACE = "envoy-gateway-system";

const DEPENDENCY = join(WORKSPACE, "deploy/dependency/kustomization.yaml");
/** In the place of the release's file of this name. */
const INSTALL = "install.yaml";
/** With these the release's file is made of its chart, but for the CRDs: `helm template` leaves them out. */
const RELEASE = ["--namespace", ENVOY_GATEWAY_NAMESPACE, "--set", "createNamespace=true"] as const;

/** A program that renders the kustomization in a folder. */
export type Kustomize = (dir: string) => Promise<string>;

/**
 * What `deploy/dependency` applies, with the release's file made here of Envoy Gateway's own chart. Its certificates are made by the Job
 * in it, and it has the rights of the chart.
 *
 * @param imageRegistry - goes before the names of its images
 * @param scratch - a folder for what is rendered; nothing stays in it
 * @returns YAML: the CRDs, then the rest
 * @throws PartError naming what is missing
 */
export async function renderDependency(
  kustomize: Kustomize,
  imageRegistry: string | undefined,
  scratch: string,
  parts: PartContext,
): Promise<string> {
  const install = await renderChart([], parts);
  await mkdir(scratch, { recursive: true });
  const dir = await mkdtemp(join(scratch, "dependency-"));
  try {
    await writeFile(join(dir, INSTALL), install);
    const kustomization = parse(await readFile(DEPENDENCY, "utf8")) as object;
    await writeFile(join(dir, "kustomization.yaml"), stringify({ ...kustomization, resources: [INSTALL] }));
    const objects = atRegistry(readManifests(await kustomize(dir), imageRegistry).text, imageRegistry);
    return [...(await readCrds(await ensureGatewayCrds(parts))), objects].join("\n---\n");
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Envoy Gateway's chart without its CRDs, as `helm template` renders it for the namespace that it lives in.
 * @param flags - of helm, such as `--set NAME=VALUE`
 */
export async function renderChart(flags: readonly string[], parts: PartContext): Promise<string> {
  const [{ bin }, { gateway }] = [await ensureHelm(parts), await ensureGatewayCharts(parts)];
  return await run({ argv: [bin, "template", "eg", gateway, ...RELEASE, ...flags] }, parts.signal);
}

/** Envoy Gateway's own settings name images too, of what it starts itself. Pure. */
function atRegistry(manifests: string, imageRegistry: string | undefined): string {
  if (imageRegistry === undefined) return manifests;
  const documents = parseAllDocuments(manifests);
  for (const document of documents) {
    const object = document.toJS() as { kind: string; data?: Readonly<Record<string, string>> };
    const text = object.kind === "ConfigMap" ? object.data?.["envoy-gateway.yaml"] : undefined;
    if (text === undefined) continue;
    const config = parse(text) as EnvoyGatewayConfig;
    const { shutdownManager, rateLimitDeployment } = config.provider.kubernetes;
    for (const named of [shutdownManager, rateLimitDeployment.container]) named.image = imageAt(imageRegistry, named.image);
    document.setIn(["data", "envoy-gateway.yaml"], stringify(config));
  }
  return documents.map((document) => document.toString()).join("");
}

interface Named {
  image: string;
}
interface EnvoyGatewayConfig {
  readonly provider: {
    readonly kubernetes: { readonly shutdownManager: Named; readonly rateLimitDeployment: { readonly container: Named } };
  };
}

async function readCrds(folder: string): Promise<readonly string[]> {
  const generated = (await readdir(join(folder, "generated"))).sort().map((name) => join("generated", name));
  return await Promise.all(["gatewayapi-crds.yaml", ...generated].map((name) => readFile(join(folder, name), "utf8")));
}
