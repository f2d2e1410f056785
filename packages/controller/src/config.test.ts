import { everyAddress } from "@aibrix/service";
import { expect, test } from "vitest";
import { readConfig, USAGE } from "./config.ts";

test("the documented flags, in their order", () => {
  const argv = ["--leader-elect", "--health-probe-bind-address=:8081", "--metrics-bind-address=0", "--enable-runtime-sidecar"];
  expect(readConfig(argv, { POD_NAMESPACE: "elsewhere", POD_NAME: "manager-1" })).toMatchObject({
    leaderElect: true,
    systemNamespace: "elsewhere",
    identity: expect.stringMatching(/^manager-1_/),
    health: { host: everyAddress(), port: 8081 },
    metrics: undefined,
    runtimeSidecar: true,
    namespace: undefined,
  });
});

test("without flags engines are called directly, and nobody is elected", () => {
  expect(readConfig([], {})).toMatchObject({ leaderElect: false, runtimeSidecar: false, systemNamespace: "aibrix-system", workers: 16 });
});

test.each([
  ["--workers=0"],
  ["--metrics-bind-address=everywhere"],
  ["--what"],
  ["--probe=maybe"],
  ["--drain-grace-period=30"],
  ["--drain-grace-period=2h"],
  ["--gateway-metrics-service=plugins:0"],
  ["--gateway-metrics-service=plugins:65536"],
  ["--gateway-metrics-service=system/plugins"],
])("%s is refused", (flag) => {
  expect(() => readConfig([flag], {})).toThrow(/write|--help/);
});

test("probes and drains unless it is told otherwise", () => {
  expect(readConfig([], {})).toMatchObject({ probe: "auto", drainGraceMs: 30_000 });
  expect(readConfig(["--probe=off", "--drain-grace-period=5m"], {})).toMatchObject({ probe: "off", drainGraceMs: 300_000 });
  expect(readConfig(["--drain-grace-period=0s"], {})?.drainGraceMs).toBe(0);
});

test("--help names every flag", () => {
  expect(readConfig(["--help"], {})).toBeUndefined();
  expect(USAGE).toMatch(/--leader-elect-namespace=NAMESPACE/);
});

test("HTTPRoutes are attached to the Gateway that is named, by default ours", () => {
  expect(readConfig([], {})?.httpRouteGateway).toBeUndefined();
  expect(readConfig(["--enable-httproutes"], {})?.httpRouteGateway).toEqual({ namespace: "aibrix-system", name: "aibrix-eg" });
  const named = ["--enable-httproutes", "--httproute-gateway=infra/public"];
  expect(readConfig(named, {})?.httpRouteGateway).toEqual({ namespace: "infra", name: "public" });
  expect(() => readConfig(["--enable-httproutes", "--httproute-gateway=public"], {})).toThrow(/write NAMESPACE\/NAME/);
  expect(() => readConfig(["--httproute-gateway=infra/public"], {})).toThrow(/without --enable-httproutes/);
});

test("the gateways' metrics are where they are installed, unless it is told otherwise", () => {
  expect(readConfig([], {})?.gatewayMetrics).toEqual({ name: "aibrix-gateway-plugins", port: 8080 });
  expect(readConfig(["--gateway-metrics-service=plugins"], {})?.gatewayMetrics).toEqual({ name: "plugins", port: 8080 });
  expect(readConfig(["--gateway-metrics-service=plugins:9090"], {})?.gatewayMetrics).toEqual({ name: "plugins", port: 9090 });
});
