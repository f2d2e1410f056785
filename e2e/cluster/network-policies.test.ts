// NetworkPolicies as the cluster's network enforces them: a stray pod reaches no engine, sidecar or gateway plugin, and what has to reach
// them still does.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { complete } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform, READY_MS } from "../support/platform.ts";

const NAME = "qwen-code-lora";
const POLICY = "samples/network-policies/engines.yaml";
const SYSTEM = "aibrix-system";
const NEIGHBOUR = { name: "stray", namespace: "default" } as const;
const ELSEWHERE = { name: "stray", namespace: "aibrix-dev" } as const;
const SCRAPES = "model.aibrix.ai/scrapes";
/** What is let through answers within milliseconds, on a busy machine too. */
const CONNECT_MS = 3_000;

/** Connects to each `host:port` of its arguments, and prints those that answered. */
const CONNECT = `
const { connect } = require("node:net");
Promise.all(process.argv.slice(1).map((to) => new Promise((done) => {
  const [host, port] = to.split(":");
  const socket = connect({ host, port });
  const end = (open) => { socket.destroy(); done(open ? [to] : []); };
  socket.setTimeout(${CONNECT_MS}, () => end(false));
  socket.on("connect", () => end(true)).on("error", () => end(false));
}))).then((all) => console.log(JSON.stringify(all.flat())));`;

/** A pod that is no part of the platform, of an image that is there. */
function stray({ name, namespace }: { readonly name: string; readonly namespace: string }): object {
  const container = {
    name: "node",
    image: "aibrix/dev-services:dev",
    command: ["node", "-e", "setInterval(() => undefined, 1e9)"],
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
  };
  const securityContext = { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: name } },
    spec: { securityContext, terminationGracePeriodSeconds: 0, containers: [container] },
  };
}

describe("network policies", () => {
  let platform: Platform;
  /** `address:port` by what is there. */
  let targets: Readonly<Record<string, string>>;

  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml");
    await platform.applyObjects(stray(NEIGHBOUR), stray(ELSEWHERE));
    await platform.rolledOut(BASE_MODEL);
    for (const { name, namespace } of [NEIGHBOUR, ELSEWHERE])
      await platform.kubectl("wait", "--for=condition=Ready", `pod/${name}`, "-n", namespace, `--timeout=${READY_MS / 1000}s`);
    const engine = await addressOf(`model.aibrix.ai/name=${BASE_MODEL}`, "default");
    const plugins = await addressOf("app.kubernetes.io/name=aibrix-gateway-plugins", SYSTEM);
    const manager = await addressOf("app.kubernetes.io/name=aibrix-controller-manager", SYSTEM);
    targets = {
      engine: `${engine}:8000`,
      "engine by its Service": `${BASE_MODEL}.default.svc.cluster.local:8000`,
      sidecar: `${engine}:8080`,
      "plugin grpc": `${plugins}:50052`,
      "plugin metrics": `${plugins}:8080`,
      "controller health": `${manager}:8081`,
      // By a name, so that these say that names are found too.
      "API server": "kubernetes.default.svc.cluster.local:443",
      "the Hub": "hub.aibrix-dev.svc.cluster.local:80",
    };
  });
  afterAll(async () => {
    await platform?.kubectl("label", "namespace", ELSEWHERE.namespace, `${SCRAPES}-`);
    await platform?.clear();
  });

  async function addressOf(label: string, namespace: string): Promise<string> {
    const address = await platform.kubectl("get", "pods", "-n", namespace, "-l", label, "-o", "jsonpath={.items[0].status.podIP}");
    expect(address).toMatch(/^[\d.]+$/);
    return address;
  }

  /** What a stray pod reaches. */
  async function reached({ name, namespace }: { readonly name: string; readonly namespace: string }): Promise<readonly string[]> {
    const command = ["node", "-e", CONNECT, ...Object.values(targets)];
    const open = JSON.parse(await platform.kubectl("exec", name, "-n", namespace, "--", ...command)) as readonly string[];
    return Object.entries(targets).flatMap(([what, to]) => (open.includes(to) ? [what] : []));
  }

  /** A policy is enforced a while after it was written. */
  async function untilReaches(pod: typeof NEIGHBOUR | typeof ELSEWHERE, what: readonly string[]): Promise<void> {
    await vi.waitFor(async () => expect(await reached(pod)).toEqual(what), { timeout: READY_MS, interval: 500 });
  }

  const OTHERS = ["API server", "the Hub"];

  test("without one an engine and its sidecar are open to every pod; plugin and controller are closed from the start", async () => {
    for (const pod of [NEIGHBOUR, ELSEWHERE]) await untilReaches(pod, ["engine", "engine by its Service", "sidecar", ...OTHERS]);
  });

  test("with the sample no pod reaches them, and names, the API server and other pods are reached as before", async () => {
    await platform.apply(POLICY);
    for (const pod of [NEIGHBOUR, ELSEWHERE]) await untilReaches(pod, OTHERS);
  });

  test("the gateway reaches engine and plugin, and the controller loads an adapter through the sidecar", async () => {
    expect((await complete(platform.gateway, BASE_MODEL)).status).toBe(200);
    await platform.apply("samples/adapter/adapter.yaml");
    await platform.condition(NAME);
    expect((await complete(platform.gateway, NAME)).status).toBe(200);
  });

  test("who reads metrics reaches the ports that have them, by a label of its namespace", async () => {
    await platform.kubectl("label", "namespace", ELSEWHERE.namespace, `${SCRAPES}=true`);
    await untilReaches(ELSEWHERE, ["sidecar", "plugin metrics", ...OTHERS]);
    expect(await reached(NEIGHBOUR)).toEqual(OTHERS);
    await platform.kubectl("label", "namespace", ELSEWHERE.namespace, `${SCRAPES}-`);
    await untilReaches(ELSEWHERE, OTHERS);
  });

  test("an engine that is new is closed like the one before", async () => {
    await platform.kubectl("rollout", "restart", `deployment/${BASE_MODEL}`);
    await platform.rolledOut(BASE_MODEL);
    const pods = (await platform.pods(BASE_MODEL)).filter((p) => p.metadata.deletionTimestamp === undefined);
    const address = pods[0]?.status.podIP ?? "";
    targets = { ...targets, engine: `${address}:8000`, sidecar: `${address}:8080` };
    await untilReaches(NEIGHBOUR, OTHERS);
    await platform.condition(NAME);
    expect((await complete(platform.gateway, NAME)).status).toBe(200);
  });
});
