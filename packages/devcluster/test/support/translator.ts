import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { run } from "../../src/parts/run.ts";
import type { Manifest } from "./manifest-plane.ts";

const LUA = new URL("../../../../deploy/envoy-gateway/model-peek.lua", import.meta.url);
const SYSTEM = "aibrix-system";

/** What egctl prints of a set of manifests. */
export interface Translation {
  /** Every condition of every object: `HTTPRoute aibrix-models Accepted True Route is accepted`. */
  readonly conditions: readonly string[];
  readonly runtime: unknown;
  /** Of the Gateway's listener. */
  readonly listener: Json;
  readonly routes: readonly Json[];
  readonly clusters: readonly Json[];
  /** Of the listener, as Envoy takes them. */
  readonly httpFilters: readonly Json[];
}

// biome-ignore lint/suspicious/noExplicitAny: what Envoy is configured with has any shape.
type Json = any;

/**
 * Gives manifests to Envoy Gateway's own translator, as they would be in a cluster with one engine.
 *
 * @param gateway - the Gateway whose Envoys are looked at
 */
export async function translate(
  egctl: string,
  manifests: readonly Manifest[],
  signal: AbortSignal,
  gateway = "aibrix-eg",
): Promise<Translation> {
  const dir = await mkdtemp(join(tmpdir(), "translate-"));
  try {
    const file = join(dir, "in.yaml");
    await writeFile(file, [...manifests, ...ENGINES].map((m) => stringify(withAddress(m))).join("---\n"));
    const argv = [
      egctl,
      "x",
      "translate",
      "--from=gateway-api",
      "--to=gateway-api,xds",
      "--type=all",
      "--output=json",
      "--file",
      file,
    ] as const;
    const { xds, ...resources } = JSON.parse(await run({ argv, timeoutMs: 120_000 }, signal));
    return { conditions: conditionsOf(resources), ...(await configOf(xds, gateway)) };
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Without an API server the translator knows a Service by its own address alone. */
function withAddress(manifest: Manifest): Manifest {
  return manifest.kind === "Service" ? { ...manifest, spec: { ...(manifest.spec as object), clusterIP: "10.96.1.1" } } : manifest;
}

/** What the controller writes. */
const ENGINES: readonly Manifest[] = [
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "aibrix-engines", namespace: SYSTEM },
    spec: { ports: [{ name: "http", port: 8000, targetPort: 8000, protocol: "TCP" }] },
  },
];

function conditionsOf(resources: Record<string, Json>): string[] {
  const found: string[] = [];
  const search = (value: Json, of: string): void => {
    if (typeof value !== "object" || value === null) return;
    if ("reason" in value && "type" in value) found.push(`${of} ${value.type} ${value.status} ${value.message}`);
    for (const inner of Object.values(value)) search(inner, of);
  };
  for (const object of Object.values(resources).flat()) search(object.status, `${object.kind} ${object.metadata?.name}`);
  return [...new Set(found)].sort();
}

async function configOf(xds: Json, gateway: string): Promise<Omit<Translation, "conditions">> {
  const script = await readFile(LUA, "utf8");
  const { configs } = xds[`${SYSTEM}/${gateway}`];
  const of = (type: string): Json => configs.find((c: Json) => c["@type"].endsWith(`.${type}ConfigDump`));
  const tidy = (value: Json): Json =>
    JSON.parse(
      JSON.stringify(value, (key, v) => {
        if (LEFT_OUT.has(key)) return undefined;
        if (key === "inlineBytes") return Buffer.from(v, "base64").toString();
        return v === script ? "the whole of model-peek.lua" : v;
      }),
    );
  const listeners = of("Listeners").dynamicListeners.map((l: Json) => l.activeState.listener);
  const listener = listeners.find((l: Json) => l.name === `${SYSTEM}/${gateway}/http`);
  const tidied = tidy({
    runtime: of("Bootstrap").bootstrap.layeredRuntime,
    listener,
    routes: of("Routes")
      .dynamicRouteConfigs.flatMap((c: Json) => c.routeConfig.virtualHosts)
      .flatMap((h: Json) => h.routes),
    clusters: of("Clusters").dynamicActiveClusters.map((c: Json) => c.cluster),
  });
  return { ...tidied, httpFilters: listener.defaultFilterChain.filters[0].typedConfig.httpFilters };
}

/** Nothing that decides what becomes of a request. */
const LEFT_OUT: ReadonlySet<string> = new Set(["accessLog", "metadata", "@type"]);
