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
