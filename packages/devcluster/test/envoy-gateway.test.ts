import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HEADER_DESTINATION } from "@aibrix/api";
import { beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { ensureKubernetes } from "../src/kubernetes/binaries.ts";
import { ensureEgctl } from "../src/parts/envoy-gateway.ts";
import { run } from "../src/parts/run.ts";
import { WORKSPACE } from "../src/stack/paths.ts";
import { type Manifest, manifestsOf } from "./support/manifest-plane.ts";
import { type Translation, translate } from "./support/translator.ts";

// Envoy Gateway's own translator, from the user's cache; the first run builds it, which takes minutes.
const BUILD_MS = 30 * 60_000;
const context = { log: (line: string) => console.log(line), signal: AbortSignal.timeout(BUILD_MS) };

let egctl: string;
let kubectl: string;
let manifests: readonly Manifest[];
let translated: Translation;

beforeAll(async () => {
  egctl = (await ensureEgctl(context)).bin;
  kubectl = (await ensureKubernetes(context)).kubectl;
  manifests = await render(join(WORKSPACE, "deploy/overlays/default"));
  translated = await translate(egctl, manifests, context.signal);
}, BUILD_MS);

async function render(folder: string): Promise<readonly Manifest[]> {
  return manifestsOf(await run({ argv: [kubectl, "kustomize", folder], timeoutMs: 60_000 }, context.signal));
}

/** The manifests with one of them changed; `undefined` leaves it out. */
function changed(kind: string, change: (manifest: Manifest) => Manifest | undefined): readonly Manifest[] {
  const known = manifests.filter((m) => m.kind === kind);
  expect(known).not.toEqual([]);
  return manifests.flatMap((m) => (m.kind === kind ? (change(structuredClone(m)) ?? []) : m));
}

test("every object is accepted, and the listener programmed", () => {
  const said = translated.conditions.map((c) => c.split(" ").slice(0, 4).join(" "));
  expect(said).toEqual([
    "BackendTrafficPolicy aibrix-models Accepted True",
    "ClientTrafficPolicy aibrix-eg Accepted True",
    "EnvoyExtensionPolicy aibrix-gateway-plugins Accepted True",
    "EnvoyProxy aibrix-eg Accepted True",
    "Gateway aibrix-eg Accepted True",
    "Gateway aibrix-eg Programmed True",
    "Gateway aibrix-eg ResolvedRefs True",
    "GatewayClass aibrix-eg Accepted True",
    "HTTPRoute aibrix-models Accepted True",
    "HTTPRoute aibrix-models ResolvedRefs True",
  ]);
});

test("Envoy is configured as reviewed", async () => {
  const { conditions: _, ...config } = translated;
  await expect(stringify(config, { lineWidth: 140 })).toMatchFileSnapshot("testdata/envoy-gateway.yaml");
});

describe("what protects the engines", () => {
  const connectionManager = () => translated.listener.defaultFilterChain.filters[0].typedConfig;

  test("headers that choose a destination or steer Envoy are taken from clients before a route is chosen", () => {
    const [{ typedConfig }] = connectionManager().earlyHeaderMutationExtensions;
    expect(typedConfig.mutations).toEqual(
      expect.arrayContaining([
        { remove: HEADER_DESTINATION },
        { removeOnMatch: { keyMatcher: { prefix: "x-gateway-" } } },
        { removeOnMatch: { keyMatcher: { prefix: "x-envoy-" } } },
      ]),
    );
    expect(connectionManager().useRemoteAddress).toBe(true);
  });

  test("only a request with a destination reaches them, and to every route the script and then the gateway plugin come first", () => {
    expect(translated.routes).toHaveLength(2);
    const [toEngines, toNowhere] = translated.routes;
    expect(toEngines.match.headers).toEqual([{ name: HEADER_DESTINATION, stringMatch: { safeRegex: { regex: ".+" } } }]);
    expect(toNowhere).toMatchObject({ match: { prefix: "/" }, directResponse: { status: 400 } });
    expect(toNowhere.match).not.toHaveProperty("headers");
    expect(toNowhere).not.toHaveProperty("route");
    const filters: readonly string[] = connectionManager().httpFilters.map((f: { name: string }) => f.name);
    expect(filters.map((name) => name.split("/")[0])).toEqual([
      "envoy.filters.http.lua",
      "envoy.filters.http.ext_proc",
      "envoy.filters.http.router",
    ]);
    for (const { typedPerFilterConfig } of translated.routes)
      expect(typedPerFilterConfig).toEqual({ [filters[0] ?? ""]: { config: {} }, [filters[1] ?? ""]: { config: {} } });
    expect(connectionManager().httpFilters[1].typedConfig).not.toHaveProperty("failureModeAllow");
  });
});

test("without the script, for an Envoy Gateway that has Lua switched off, the gateway plugin is shown whole bodies", async () => {
  const dir = await mkdtemp(join(WORKSPACE, "deploy/.no-model-peek-"));
  try {
    const kustomization = { resources: ["../overlays/default"], components: ["../components/no-model-peek"] };
    await writeFile(join(dir, "kustomization.yaml"), stringify(kustomization));
    const { listener, conditions } = await translate(egctl, await render(dir), context.signal);
    expect(conditions.filter((c) => c.includes(" False "))).toEqual([]);
    const filters = listener.defaultFilterChain.filters[0].typedConfig.httpFilters;
    expect(filters.map((f: { name: string }) => f.name.split("/")[0])).toEqual([
      "envoy.filters.http.ext_proc",
      "envoy.filters.http.router",
    ]);
    expect(filters[0].typedConfig.processingMode).toMatchObject({ requestHeaderMode: "SEND", requestBodyMode: "BUFFERED" });
    expect(filters[0].typedConfig).not.toHaveProperty("allowModeOverride");
  } finally {
    await rm(dir, { recursive: true });
  }
});

// What the translator says of mistakes, so that the conditions above mean something.
test.each([
  {
    mistake: "no script",
    kind: "ConfigMap",
    change: () => undefined,
    says: /EnvoyExtensionPolicy aibrix-gateway-plugins Accepted False .*ConfigMap/i,
  },
  {
    mistake: "a script that is no Lua",
    kind: "ConfigMap",
    change: (m: Manifest) => ({ ...m, data: { lua: "function (" } }),
    says: /EnvoyExtensionPolicy aibrix-gateway-plugins Accepted False Lua/,
  },
  {
    mistake: "a policy of a route that is not there",
    kind: "HTTPRoute",
    change: (m: Manifest) => ({ ...m, metadata: { ...m.metadata, name: "other" } }),
    says: /Gateway aibrix-eg/,
    absent: /EnvoyExtensionPolicy aibrix-gateway-plugins Accepted True/,
  },
  {
    mistake: "an answer that is not there",
    kind: "HTTPRouteFilter",
    change: () => undefined,
    says: /HTTPRoute aibrix-models (Accepted|ResolvedRefs) False/,
  },
])("$mistake is seen", async ({ kind, change, says, absent }) => {
  const conditions = (await translate(egctl, changed(kind, change), context.signal)).conditions.join("\n");
  expect(conditions).toMatch(says);
  if (absent !== undefined) expect(conditions).not.toMatch(absent);
});
