import { Registry } from "@aibrix/service";
import { expect, test } from "vitest";
import { gatewayMetrics } from "./metrics.ts";
import { RoutingTable } from "./routing/table.ts";

test("answers of contents on trial count by name, however few other models do", async () => {
  const registry = new Registry();
  const open = { streams: () => 0, held: () => 0 };
  const { onAnswered } = gatewayMetrics(registry, new RoutingTable(), 0, open, () => 0);
  onAnswered({ model: "lora", namespace: "team", version: "canary" }, 200, 1);
  expect(await registry.metrics()).toContain(
    'aibrix_gateway_version_responses_total{model="lora",namespace="team",version="canary",code="200"} 1',
  );
});

test("requests for contents on trial count by the model's namespace too, those beyond the bound together", async () => {
  const registry = new Registry();
  const { onDone } = gatewayMetrics(registry, new RoutingTable(), 3, { streams: () => 0, held: () => 0 }, () => 0);
  const names = ["a/lora", "b/lora", "/org/lora", "c/lora", "d/other"];
  for (const [namespace = "", model = ""] of names.map((name) => name.split(/\/(.*)/))) {
    const trial = { model, namespace, version: "canary" } as const;
    const reply = { kind: "route", phase: "requestHeaders", model, destinations: [], trial } as const;
    onDone({ head: undefined, reply, durationMs: 0, waitedMs: 0 });
  }
  const lines = (await registry.metrics()).split("\n").filter((line) => line.startsWith("aibrix_gateway_version_requests_total{"));
  expect(lines.map((line) => line.slice("aibrix_gateway_version_requests_total".length))).toEqual([
    '{model="lora",namespace="a",version="canary"} 1',
    '{model="lora",namespace="b",version="canary"} 1',
    '{model="org/lora",namespace="",version="canary"} 1',
    '{model="_other",namespace="",version="canary"} 2',
  ]);
});
