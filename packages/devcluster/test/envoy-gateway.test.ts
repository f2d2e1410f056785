import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HEADER_DESTINATION } from "@aibrix/api";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { ensureKubernetes } from "../src/kubernetes/binaries.ts";
import { ensureEnvoy } from "../src/parts/envoy.ts";
import { ensureEgctl } from "../src/parts/envoy-gateway.ts";
import { run } from "../src/parts/run.ts";
import { WORKSPACE } from "../src/stack/paths.ts";
import { freePorts } from "../src/stack/ports.ts";
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

test("the Gateway of one namespace is accepted too, with the GatewayClass that an administrator makes, and refers to its own objects", async () => {
  const parts = await Promise.all(["overlays/namespaced", "gateway-class"].map((part) => render(join(WORKSPACE, "deploy", part))));
  const { conditions, listener, routes } = await translate(egctl, parts.flat(), context.signal, "aibrix-eg-models");
  // Those of the default overlay, by the names that they have here.
  const renamed = translated.conditions.map((c) => (c.startsWith("GatewayClass") ? c : c.replace(/^(\S+ \S+)/, "$1-models")));
  expect(conditions).toEqual(renamed);
  const names = (l: Translation["listener"]) =>
    l.defaultFilterChain.filters[0].typedConfig.httpFilters.map((f: { name: string }) => f.name.split("/")[0]);
  expect(names(listener)).toEqual(names(translated.listener));
  expect(routes.map((r) => [r.match, r.directResponse?.status])).toEqual(translated.routes.map((r) => [r.match, r.directResponse?.status]));
});

test("Envoy is configured as reviewed", async () => {
  const { conditions: _, httpFilters: __, ...config } = translated;
  await expect(stringify(config, { lineWidth: 0 })).toMatchFileSnapshot("testdata/envoy-gateway.yaml");
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

  test("a client that stops amid its body holds nothing for ever, and the plugin's longest wait fits into that time", () => {
    const [, , plugin] = connectionManager().httpFilters;
    const seconds = (text: string) => Number(/^(\d+)s$/.exec(text)?.[1]);
    expect(seconds(connectionManager().requestTimeout)).toBe(300);
    expect(seconds(plugin.typedConfig.messageTimeout)).toBeLessThan(300);
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
      "envoy.filters.http.custom_response",
      "envoy.filters.http.lua",
      "envoy.filters.http.ext_proc",
      "envoy.filters.http.router",
    ]);
    for (const { typedPerFilterConfig } of translated.routes)
      expect(typedPerFilterConfig).toEqual(Object.fromEntries(filters.slice(0, 3).map((name) => [name, { config: {} }])));
    expect(connectionManager().httpFilters[2].typedConfig).not.toHaveProperty("failureModeAllow");
  });
});

test("without the script, for an Envoy Gateway that has Lua switched off, the gateway plugin is shown whole bodies", async () => {
  const dir = await mkdtemp(join(WORKSPACE, "deploy/.no-model-peek-"));
  try {
    const kustomization = { resources: ["../overlays/default"], components: ["../components/no-model-peek"] };
    await writeFile(join(dir, "kustomization.yaml"), stringify(kustomization));
    const { listener, conditions } = await translate(egctl, await render(dir), context.signal);
    expect(conditions.filter((c) => c.includes(" False "))).toEqual([]);
    const [, ...filters] = listener.defaultFilterChain.filters[0].typedConfig.httpFilters;
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

describe("what a real Envoy answers by itself", () => {
  let envoy: ChildProcess;
  let cutting: Server;
  let dir: string;
  let url: string;
  const answers = [400, 408, 413, 431, 500, 502, 504] as const;
  const JSON_ANSWER = { error: { message: "mine", code: "from_the_plugin" } };

  beforeAll(async () => {
    const { bin } = await ensureEnvoy(context);
    dir = await mkdtemp(join(tmpdir(), "envoy-answers-"));
    const [port = 0, nowhere = 0] = await freePorts(2);
    cutting = createServer((socket) => socket.once("data", () => socket.destroy())).listen(0, "127.0.0.1");
    await once(cutting, "listening");
    url = `http://127.0.0.1:${port}`;
    const filters = translated.httpFilters.filter(({ name }) => /custom_response|router/.test(name)).map(({ disabled: _, ...f }) => f);
    expect(filters).toHaveLength(2);
    const text = (status: number) => ({
      match: { path: `/${status}` },
      direct_response: { status, body: { inline_string: "plain" } },
    });
    const json = {
      match: { path: "/plugin" },
      direct_response: { status: 503, body: { inline_string: JSON.stringify(JSON_ANSWER) } },
      response_headers_to_add: [
        { header: { key: "content-type", value: "application/json" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
      ],
    };
    const to = (path: string, cluster: string) => ({ match: { path }, route: { cluster } });
    const empty = { match: { path: "/empty" }, direct_response: { status: 500 } };
    const routes = [...answers.map(text), json, empty, to("/nowhere", "nowhere"), to("/cut", "cut")];
    const address = (to: number) => ({ socket_address: { address: "127.0.0.1", port_value: to } });
    const manager = {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      stat_prefix: "answers",
      http_filters: filters,
      route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
    };
    const network = { name: "envoy.filters.network.http_connection_manager", typed_config: manager };
    const cluster = (name: string, at: number) => {
      const endpoints = [{ lb_endpoints: [{ endpoint: { address: address(at) } }] }];
      return { name, type: "STATIC", load_assignment: { cluster_name: name, endpoints } };
    };
    const bootstrap = {
      static_resources: {
        listeners: [{ name: "in", address: address(port), filter_chains: [{ filters: [network] }] }],
        clusters: [cluster("nowhere", nowhere), cluster("cut", (cutting.address() as AddressInfo).port)],
      },
    };
    await writeFile(join(dir, "envoy.json"), JSON.stringify(bootstrap));
    envoy = spawn(bin, ["-c", join(dir, "envoy.json"), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"], {
      stdio: "inherit",
    });
    await vi.waitFor(async () => expect((await fetch(`${url}/400`)).status).toBe(400), { timeout: 60_000, interval: 100 });
  }, BUILD_MS);

  afterAll(async () => {
    envoy?.kill("SIGKILL");
    cutting?.close();
    await rm(dir, { recursive: true, force: true });
  });

  test.each(answers)("a %i of its own has the error shape of OpenAI's API", async (status) => {
    const answer = await fetch(`${url}/${status}`);
    expect(answer.status).toBe(status);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.json()).toEqual({
      error: { message: expect.any(String), type: expect.stringMatching(/_error$/), param: null, code: expect.any(String) },
    });
  });

  test.each([
    { engine: "cannot be reached", path: "/nowhere", flag: "UF" },
    { engine: "takes a request and ends", path: "/cut", flag: "UC" },
  ])("so has that of an engine that $engine, with Envoy's flag $flag, and says when to come again", async ({ path, flag }) => {
    const answer = await fetch(`${url}${path}`, { method: "POST", body: "{}" });
    expect([answer.status, answer.headers.get("retry-after"), answer.headers.get("content-type")]).toEqual([503, "2", "application/json"]);
    expect(await answer.json()).toMatchObject({
      error: { message: expect.stringContaining(`(${flag})`), type: "server_error", code: "engine_unavailable" },
    });
  });

  test("an empty 500, as Envoy Gateway has it where the gateway plugin has no pod, becomes a 503 that says so and when to come again", async () => {
    const answer = await fetch(`${url}/empty`);
    expect([answer.status, answer.headers.get("retry-after"), answer.headers.get("content-type")]).toEqual([503, "2", "application/json"]);
    expect(await answer.json()).toMatchObject({ error: { type: "server_error", code: "gateway_unavailable" } });
  });

  test("an answer that has the shape already passes as it is", async () => {
    const answer = await fetch(`${url}/plugin`);
    expect([answer.status, answer.headers.get("retry-after"), await answer.json()]).toEqual([503, null, JSON_ANSWER]);
  });
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
