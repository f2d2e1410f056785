import { expect, test } from "vitest";
import { commandTexts } from "../stack/commands.ts";
import { nodeAddress } from "./kubeconfig.ts";
import { clusterSteps } from "./next-steps.ts";
import { adapterReport, isHealthy } from "./status.ts";

const STEPS = {
  gateway: "http://10.0.0.2:30080",
  kubeconfig: "/my state/kubeconfig",
  bin: "/my state/bin",
  samples: "samples",
  imageRegistry: undefined,
  commands: commandTexts("/d", "/d", ["--kubernetes"]),
  detached: true,
  env: {},
};

test("the next steps can be pasted, also where the folder's name has a blank", () => {
  const text = clusterSteps(STEPS).join("\n");
  expect(text).toContain("  export KUBECONFIG='/my state/kubeconfig'\n  export PATH='/my state/bin':$PATH\n");
  expect(text).toContain("  kubectl apply -f samples/adapter/base.yaml\n");
  expect(text).toContain("curl http://10.0.0.2:30080/v1/completions");
  expect(text).not.toContain("Ctrl-C");
});

test("with a registry of one's own, the base model's images have to be renamed first", () => {
  expect(clusterSteps({ ...STEPS, imageRegistry: "r.example/dev" }).join("\n")).toContain("put r.example/dev/ before the images");
});

test.each([
  { env: { HTTPS_PROXY: "http://p:1" }, want: "10.0.0.2" },
  { env: { http_proxy: "http://p:1", NO_PROXY: "localhost, .corp", no_proxy: ".corp,other" }, want: "localhost,.corp,other,10.0.0.2" },
  { env: { ALL_PROXY: "socks5://p:1", NO_PROXY: "10.0.0.2" }, want: "10.0.0.2" },
  { env: { all_proxy: "http://p:1", no_proxy: "*" }, want: "'*,10.0.0.2'" },
])("where a proxy is set ($env) the node is excepted from it", ({ env, want }) => {
  expect(clusterSteps({ ...STEPS, env }).join("\n")).toContain(`:$PATH\n  export NO_PROXY=${want} no_proxy=${want}\n`);
});

test("an address of six is excepted without its brackets", () => {
  const steps = clusterSteps({ ...STEPS, gateway: "http://[fd00::1]:30080", env: { HTTP_PROXY: "http://p:1" } });
  expect(steps).toContain("  export NO_PROXY=fd00::1 no_proxy=fd00::1");
});

test.each([{}, { HTTPS_PROXY: "", NO_PROXY: "localhost" }])("without a proxy nothing is said of one (%o)", (env) => {
  expect(clusterSteps({ ...STEPS, env }).join("\n")).not.toMatch(/no_proxy/i);
});

test("the command that starts it again has its flags", () => {
  expect(commandTexts("/d", "/e", ["--kubernetes", "--cluster", "node"]).start).toBe("npm start -- --kubernetes --cluster node --dir /d");
});

test("NodePorts are looked for at a Ready node, outside before inside", () => {
  const node = (status: string, ...addresses: { type: string; address: string }[]) => ({
    metadata: { name: "n" },
    status: { conditions: [{ type: "Ready", status }], addresses },
  });
  const inner = { type: "InternalIP", address: "10.0.0.1" };
  const outer = { type: "ExternalIP", address: "192.0.2.1" };
  expect(nodeAddress([node("False", outer), node("True", { type: "Hostname", address: "n" }, inner)])).toBe("10.0.0.1");
  expect(nodeAddress([node("True", inner), node("True", inner, outer)])).toBe("192.0.2.1");
  expect(nodeAddress([node("True", { type: "InternalIP", address: "fd00::1" })])).toBe("[fd00::1]");
  expect(nodeAddress([node("False", inner)])).toBeUndefined();
});

test("a cluster is healthy while its nodes and the platform's pods are Ready; a failed adapter does not count", () => {
  const adapter = { namespace: "d", name: "a", phase: "Failed", reason: "x", message: "" };
  const good = { nodes: [{ name: "n", ready: true, message: "" }], pods: [], adapters: [adapter] };
  expect(isHealthy(good)).toBe(true);
  expect(isHealthy({ ...good, nodes: [{ name: "n", ready: false, message: "" }] })).toBe(false);
  expect(isHealthy({ ...good, pods: [{ pod: "a/b", state: "NotReady", message: "" }] })).toBe(false);
  expect(isHealthy({ ...good, problem: "no answer" })).toBe(false);
});

const READY = { type: "Ready", status: "True", reason: "ModelAdapterAvailable", message: "served" };
const REFUSED = { type: "Updated", status: "False", reason: "ArtifactInvalid", message: "it is cut off" };

test.each([
  { name: "one that the controller has not seen", conditions: undefined, told: ["Pending", "", "the controller has not seen it yet"] },
  { name: "one that serves", conditions: [{ ...REFUSED, status: "True" }, READY], told: ["Running", READY.reason, READY.message] },
  { name: "one whose update failed", conditions: [REFUSED, READY], told: ["Running", REFUSED.reason, REFUSED.message] },
  {
    name: "one that does not serve",
    conditions: [REFUSED, { ...READY, status: "False", reason: "R", message: "m" }],
    told: ["Running", "R", "m"],
  },
])("of adapters $name is told", ({ conditions, told }) => {
  const status = conditions === undefined ? {} : { status: { phase: "Running", conditions } };
  const { phase, reason, message } = adapterReport({ metadata: { name: "a" }, ...status });
  expect([phase, reason, message]).toEqual(told);
});
