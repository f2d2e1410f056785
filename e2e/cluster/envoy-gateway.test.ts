// What stands in front of the cluster: Envoy Gateway took every policy, and what protects the engines holds in the Envoy that it runs.
import { once } from "node:events";
import { connect } from "node:http2";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { post } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform } from "../support/platform.ts";

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

  test("has no place for a destination that a client names", async () => {
    const steering = { "x-gateway-destination-endpoint": NOWHERE, "x-gateway-model-peek": "other", "x-envoy-upstream-rq-timeout-ms": "1" };
    for (const headers of [{}, steering]) {
      const answer = await fetch(`${platform.gateway}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: BASE_MODEL, prompt: "a", max_tokens: 4 }),
      });
      expect({ headers, status: answer.status, ...((await answer.json()) as object) }).toMatchObject({ status: 200, model: BASE_MODEL });
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

  test("bears a body of several megabytes", async () => {
    const answer = await post(platform.gateway, JSON.stringify({ model: BASE_MODEL, prompt: "a ".repeat(2_000_000), max_tokens: 4 }));
    // It came to the engine, whose context is smaller.
    expect(answer).toMatchObject({ status: 400, body: expect.stringContaining("context length") });
  });
});
