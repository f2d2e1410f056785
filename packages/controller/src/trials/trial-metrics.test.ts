import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { EndpointSlice, KubeClient, Log } from "@aibrix/kube";
import { expect, test, vi } from "vitest";
import { gatewaysIn, TrialMetrics } from "./trial-metrics.ts";

function slice(addressType: "IPv4" | "IPv6", endpoints: EndpointSlice["endpoints"]): EndpointSlice {
  return { metadata: { name: addressType }, addressType, endpoints, ports: [] };
}

test("a gateway with addresses of both families is one", () => {
  const targetRef = { kind: "Pod", name: "a", uid: "a" };
  const slices = [
    slice("IPv4", [{ addresses: ["10.0.0.1"], targetRef }, { addresses: ["10.0.0.2"] }]),
    slice("IPv6", [{ addresses: ["fd00::1"], targetRef }]),
  ];
  expect([...gatewaysIn(slices)]).toEqual([
    ["a", "10.0.0.1"],
    ["10.0.0.2", "10.0.0.2"],
  ]);
});

test("a step is counted from its beginning while another one is followed, and a gateway that does not answer is told of once", async () => {
  const responses = (model: string, count: number) =>
    `aibrix_gateway_version_responses_total{model="${model}",namespace="n",version="canary",code="500"} ${count}\n`;
  let page = responses("x", 1) + responses("y", 7);
  const server = createServer((call, reply) => {
    const up = call.url?.startsWith("/10.0.0.1/") === true;
    reply.writeHead(up ? 200 : 503).end(up ? page : "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const slices = [slice("IPv4", [{ addresses: ["10.0.0.1"] }, { addresses: ["10.0.0.2"] }])];
  const stop = new AbortController();
  const warn = vi.fn();
  const log: Log = { debug: vi.fn(), info: vi.fn(), warn, error: vi.fn() };
  const asked = vi.fn(async () => slices);
  const metrics = new TrialMetrics({
    client: { list: asked } as unknown as KubeClient,
    service: { namespace: "n", name: "gateways", port: 1 },
    connect: (ip) => `http://127.0.0.1:${port}/${ip}`,
    log,
    onChange: vi.fn(),
    // Nothing but a new step has them asked again.
    periodMs: 3_600_000,
    signal: stop.signal,
  });
  metrics.follow("n/x", { namespace: "n", model: "x", step: "1" });
  await vi.waitFor(() => expect(warn).toHaveBeenCalledTimes(1));
  expect(warn.mock.calls[0]?.[0]).toMatchObject({ gateway: "10.0.0.2" });
  page = responses("x", 3) + responses("y", 8);
  metrics.follow("n/y", { namespace: "n", model: "y", step: "1" });
  await vi.waitFor(() => expect(metrics.health("n/x", "1")?.errors).toBe(2));
  page = responses("x", 3) + responses("y", 10);
  metrics.follow("n/z", { namespace: "n", model: "z", step: "1" });
  await vi.waitFor(() => expect(metrics.health("n/y", "1")?.errors).toBe(2));
  expect([asked.mock.calls.length, warn.mock.calls.length]).toEqual([3, 1]);
  stop.abort();
  await metrics.close();
  await new Promise((resolve) => server.close(resolve));
});
