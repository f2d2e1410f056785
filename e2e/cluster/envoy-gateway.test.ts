// What stands in front of the cluster: Envoy Gateway took every policy, and what protects the engines holds in the Envoy that it runs.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { ROOT } from "../support/cli.ts";
import { complete, post } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { ENVOY, PLUGINS, settled } from "../support/overlays.ts";
import { Platform, READY_MS } from "../support/platform.ts";

interface PodTemplate {
  readonly spec: { readonly template: { readonly spec: { readonly serviceAccountName: string; readonly volumes: readonly object[] } } };
}

interface Conditioned {
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[];
}
interface WithStatus {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly status?: Conditioned & { readonly ancestors?: readonly Conditioned[]; readonly parents?: readonly Conditioned[] };
}

/** Nothing listens there, and no pod has it. */
const NOWHERE = "192.0.2.1:9999";

describe("the way in", () => {
  let platform: Platform;

  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml");
    await platform.rolledOut(BASE_MODEL);
  });
  afterAll(() => platform?.clear());

  test("is what Envoy Gateway runs, which took every policy", async () => {
    const kinds = "gateways,httproutes,envoyextensionpolicies,backendtrafficpolicies,clienttrafficpolicies,envoyproxies";
    // Envoy Gateway writes a while after the engines' slices were.
    await vi.waitFor(
      async () => {
        const { items } = await platform.json<{ items: readonly WithStatus[] }>("get", kinds, "-n", "aibrix-system");
        expect(items).toHaveLength(6);
        for (const { kind, metadata, status } of items) {
          const all = [status, ...(status?.ancestors ?? []), ...(status?.parents ?? [])].flatMap((s) => s?.conditions ?? []);
          const told = all.map((c) => `${kind} ${metadata.name} ${c.type}=${c.status}: ${c.message}`);
          expect(told.filter((line) => line.includes("=False"))).toEqual([]);
          expect(all).toContainEqual(expect.objectContaining({ type: kind === "Gateway" ? "Programmed" : "Accepted", status: "True" }));
        }
      },
      { timeout: 30_000, interval: 500 },
    );
  });

  test("is an Envoy Gateway with what deploy/dependency switches on, and with no right to everything", async () => {
    const { patches } = parse(readFileSync(join(ROOT, "deploy/dependency/kustomization.yaml"), "utf8"));
    const [{ value }] = parse(patches[0].patch) as [{ value: string }];
    const [config, namespace] = ["envoy-gateway-config", ENVOY.namespace] as const;
    const { data } = await platform.json<{ data: Record<string, string> }>("get", "configmap", config, "-n", namespace);
    const { extensionApis } = parse(value) as { extensionApis: object };
    expect(Object.keys(extensionApis)).not.toEqual([]);
    expect(parse(data["envoy-gateway.yaml"] ?? "")).toMatchObject({ extensionApis });
    const { spec } = await platform.json<PodTemplate>("get", "deployment", "envoy-gateway", "-n", namespace);
    // It reads that very ConfigMap.
    expect(spec.template.spec.volumes).toContainEqual(expect.objectContaining({ configMap: expect.objectContaining({ name: config }) }));
    const as = `--as=system:serviceaccount:${namespace}:${spec.template.spec.serviceAccountName}`;
    expect(await platform.kubectl("auth", "can-i", "list", "httproutes.gateway.networking.k8s.io", "-A", as)).toMatch(/^yes/);
    for (const beyond of [
      ["*", "*", "-A"],
      ["create", "clusterrolebindings"],
      ["delete", "secrets", "-n", "aibrix-system"],
      ["create", "pods", "-n", namespace],
    ])
      expect(await platform.says("auth", "can-i", ...beyond, as), beyond.join(" ")).toMatch(/^no/);
  });

  test("has no place for a destination that a client names", async () => {
    const steering = { "x-gateway-destination-endpoint": NOWHERE, "x-gateway-model-peek": "other", "x-envoy-upstream-rq-timeout-ms": "1" };
    for (const headers of [{}, steering]) {
      const answer = await fetch(`${platform.gateway}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: BASE_MODEL, prompt: "a", max_tokens: 4 }),
      });
      expect({ headers, status: answer.status, ...((await answer.json()) as object) }).toMatchObject({ status: 200, model: BASE_MODEL });
      // By this the gateway plugin knows which pod of its list answered.
      expect(answer.headers.get("x-gateway-attempts")).toMatch(/^[1-6]$/);
    }
  });

  test("ends for a request of headers and trailers alone, whatever it names", async () => {
    const client = connect(platform.gateway);
    try {
      const request = client.request(
        { ":method": "POST", ":path": "/v1/completions", "content-type": "application/json", "x-gateway-destination-endpoint": NOWHERE },
        { waitForTrailers: true, endStream: false },
      );
      request.on("wantTrailers", () => request.sendTrailers({ "x-checksum": "1" }));
      request.end();
      const [headers] = await once(request, "response", { signal: AbortSignal.timeout(30_000) });
      let text = "";
      request.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      await once(request, "end", { signal: AbortSignal.timeout(30_000) });
      expect({ status: headers[":status"], text }).toMatchObject({
        status: 400,
        text: expect.stringContaining("The request has no body."),
      });
    } finally {
      client.destroy();
    }
  });

  test("says in OpenAI's shape that no gateway plugin is there", async () => {
    const replicas = (count: number) =>
      platform.kubectl("scale", `deployment/${PLUGINS.name}`, "-n", PLUGINS.namespace, `--replicas=${count}`);
    await replicas(0);
    try {
      // Until Envoy Gateway has seen it, Envoy itself says that it cannot reach the plugin.
      await platform.kubectl(
        "wait",
        "-n",
        PLUGINS.namespace,
        "--for=delete",
        "pods",
        "-l",
        `app.kubernetes.io/name=${PLUGINS.name}`,
        "--timeout=60s",
      );
      const seen = new Set<string>();
      await vi.waitFor(
        async () => {
          const answer = await complete(platform.gateway, BASE_MODEL);
          seen.add(`${answer.status} ${answer.body}`);
          expect(answer).toMatchObject({ status: 503, body: expect.stringContaining('"code":"gateway_unavailable"') });
        },
        { timeout: 60_000, interval: 250 },
      );
      for (const answer of seen) expect(answer).toMatch(/^200 |^503 \{.*"code":"(engine|gateway)_unavailable"/);
    } finally {
      await replicas(1);
      await settled(platform);
      await vi.waitFor(async () => expect((await complete(platform.gateway, BASE_MODEL)).status).toBe(200), {
        timeout: READY_MS,
        interval: 250,
      });
    }
  });

  test("bears a body of several megabytes", async () => {
    const answer = await post(platform.gateway, JSON.stringify({ model: BASE_MODEL, prompt: "a ".repeat(2_000_000), max_tokens: 4 }));
    // It came to the engine, whose context is smaller.
    expect(answer).toMatchObject({ status: 400, body: expect.stringContaining("context length") });
  });
});
