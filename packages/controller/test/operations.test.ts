import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type KubeObject, LEASES } from "@aibrix/kube";
import { afterEach, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { ApiProxy } from "./support/api-proxy.ts";
import { adapters, useWorld, world } from "./support/case.ts";
import { ControllerProcess } from "./support/process.ts";
import { adapter, until } from "./support/world.ts";

const NAMESPACED = fileURLToPath(new URL("../../../deploy/overlays/namespaced/controller", import.meta.url));
const FLAGS = ["--leader-elect", "--enable-runtime-sidecar"];

useWorld();

afterEach(async () => {
  await world.stopControllers();
});

/** Whoever holds the lease; empty where it was given back. */
async function holder(): Promise<string> {
  const name = { namespace: "aibrix-system", name: "aibrix-controller-manager" };
  return (await world.admin.find(LEASES, name, AbortSignal.timeout(10_000)))?.spec?.holderIdentity ?? "";
}

/** Applies what the overlay has for a namespace. */
async function namespaced(namespace: string): Promise<void> {
  const objects = await world.kubectl("kustomize", NAMESPACED);
  for (const document of parseAllDocuments(objects.replaceAll("models", namespace))) {
    const object = document.toJS() as KubeObject;
    if (object.kind !== "Deployment") await world.applyObject(object);
  }
}

function words(line: string): string {
  return line.replaceAll(/\[\]/g, " ").trim().replaceAll(/\s+/g, " ");
}

/** Somebody acts on an adapter that no pod will ever have. */
async function actedOn(name: string): Promise<void> {
  await world.applyObject(adapter(name, { podSelector: { matchLabels: { nobody: "has-this" } } }));
  await adapters.condition(`default/${name}`, "Ready", "False");
}

test("the leader's process is killed: the other one acts once the lease is over, and at once where the leader ends in order", async () => {
  await using one = await ControllerProcess.start(world, FLAGS);
  await until("the first leads", async () => (await holder()) !== "");
  await using two = await ControllerProcess.start(world, FLAGS);
  await until("the second is ready", async () => (await two.get("/readyz")) === 200);
  await actedOn("first");
  const leader = await holder();
  await one.kill();
  expect(await holder()).toBe(leader);
  await actedOn("second");
  expect(await holder()).not.toBe(leader);
  expect(await two.get("/healthz")).toBe(200);

  await using three = await ControllerProcess.start(world, FLAGS);
  await until("the third is ready", async () => (await three.get("/readyz")) === 200);
  expect(await two.stop()).toBe(0);
  await actedOn("third");
  expect(await three.stop()).toBe(0);
  expect(await holder()).toBe("");
});

test.each(["leases", "modeladapters", "pods", "endpointslices", "configmaps"])(
  "ended in the middle of its start, as it reads %s, it ends in order",
  async (resource) => {
    await using proxy = await ApiProxy.start(world.plane);
    let one: ControllerProcess | undefined;
    let asked = false;
    proxy.answered = ({ path }) => {
      if (asked || !path.split("/").includes(resource)) return;
      asked = true;
      void one?.stop();
    };
    one = await ControllerProcess.start(world, FLAGS, proxy);
    await using it = one;
    expect(await it.ended).toBe(0);
    expect(asked).toBe(true);
    expect(await holder()).toBe("");
  },
);

test("an API server that has told nothing for a while is a reason not to be ready, until it answers", async () => {
  await using proxy = await ApiProxy.start(world.plane);
  const controller = await world.controller(["--enable-runtime-sidecar"], { health: { disconnectedMs: 500 } }, proxy);
  await until("it is ready", () => controller.notReady() === undefined);
  proxy.cut();
  expect(controller.notReady()).toBeUndefined();
  const reason = await until("it is not ready", () => controller.notReady());
  expect(reason).toMatch(/^for \d+ s the API server has told nothing of \w+.*: is it reachable/);
  expect(controller.notAlive()).toBeUndefined();
  proxy.join();
  await until("it is ready again", () => controller.notReady() === undefined);
});

test("a right that is taken away is named", async () => {
  const controller = await world.controller();
  await until("it is ready", () => controller.notReady() === undefined);
  await controller.stop();
  await world.kubectl("delete", "clusterrolebinding", "aibrix-controller-manager");
  try {
    const without = await world.controller();
    const reason = await until("it says why", () => {
      const now = without.notReady();
      return now?.includes("forbidden") === true ? now : undefined;
    });
    expect(reason).toMatch(
      /^the caches of .*modeladapters.* are not filled yet \(.*\): is the API server reachable, and the RBAC applied\?$/,
    );
  } finally {
    await world.apply("deploy/rbac/controller.yaml");
  }
});

test("every metric is there, and those of loads, unloads, repairs and retries count what happened", async () => {
  const pod = await world.pod("measured", { labels: { "only-for": "metrics" } });
  const controller = await world.controller(["--enable-runtime-sidecar"], { callBackoff: { baseMs: 50, maxMs: 200 } });
  const only = { podSelector: { matchLabels: { "only-for": "metrics" } } };
  pod.runtime.ill = "500";
  await world.applyObject(adapter("measured", only));
  await until("it was asked again", () => pod.runtime.asked.length > 2);
  pod.runtime.ill = undefined;
  await adapters.ready("default/measured");
  pod.runtime.setEngine(false);
  await adapters.condition("default/measured", "Ready", "False");
  pod.runtime.setEngine(true);
  await adapters.ready("default/measured");
  await world.kubectl("delete", "service", "measured");
  await until("the Service is back", () => world.get("Service", "default/measured"));
  await world.kubectl("delete", "endpointslices", "-l", "kubernetes.io/service-name=measured");
  await until("the slices are back", async () => (await adapters.addresses("default/measured")).length === 1);
  await adapters.remove("default/measured");
  const shown = async () => await controller.registry.metrics();
  const value = async (line: string) =>
    Number(
      (await shown())
        .split("\n")
        .find((l) => l.startsWith(`${line} `))
        ?.split(" ")[1] ?? Number.NaN,
    );
  await until("its end has been seen", async () => (await value('aibrix_controller_adapters{phase="Running"}')) === 0);
  await until("the slices' repair is counted", async () => (await value('aibrix_controller_repairs_total{what="slices"}')) > 0);
  expect(await value('aibrix_controller_load_seconds_count{result="ok"}')).toBe(1);
  expect(await value("aibrix_controller_unload_seconds_count")).toBe(1);
  expect(await value('aibrix_controller_repairs_total{what="pod"}')).toBe(1);
  expect(await value('aibrix_controller_repairs_total{what="service"}')).toBe(1);
  expect(await value('aibrix_controller_retries_total{call="load"}')).toBeGreaterThan(0);
  expect(await value("aibrix_controller_pods")).toBe(1);
  for (const resource of ["modeladapters", "pods", "services", "endpointslices"])
    expect(await value(`aibrix_controller_reflector_connected{resource="${resource}"}`)).toBe(1);
  const names = (await shown()).match(/(?<=# TYPE )aibrix_controller_\w+/g) ?? [];
  const documented = (await readFile(new URL("../../../docs/guides/controller.md", import.meta.url), "utf8")).match(
    /aibrix_controller_(?!manager)\w+/g,
  );
  expect(new Set(documented)).toEqual(new Set(names));
  await world.deletePod(pod);
});

test("two controllers of single namespaces, each under its own Role alone, share a system namespace", async () => {
  await world.namespace("models");
  await world.namespace("others");
  await namespaced("models");
  await namespaced("others");
  // What a controller of all namespaces wrote before.
  await world.kubectl("delete", "endpointslices", "-n", "aibrix-system", "--all");
  const start = (namespace: string) =>
    world.controller([...FLAGS, `--namespace=${namespace}`], {}, undefined, `aibrix-controller-manager-${namespace}`);
  const narrow = await start("models");
  const other = await start("others");
  const ours = await world.pod("narrow", { namespace: "models" });
  const theirs = await world.pod("other", { namespace: "others" });
  await world.applyObject(adapter("narrow", {}, { namespace: "models" }));
  await world.applyObject(adapter("other", {}, { namespace: "others" }));
  await adapters.ready("models/narrow");
  await adapters.ready("others/other");
  expect(ours.runtime.loads.map((l) => l.lora_name)).toEqual(["narrow"]);
  const engines = async () => (await adapters.addresses("aibrix-system/aibrix-engines")).join();
  await until("both list their engines", async () => (await engines()) === [ours.ip, theirs.ip].sort().join());
  expect(await adapters.events("models/narrow")).toContain("Loaded");
  await adapters.remove("models/narrow");
  await world.deletePod(ours);
  await until("the other's engine stays", async () => (await engines()) === theirs.ip);
  // Routes are asked for once, in case that they were written before: the right to is another file's, and nobody is to be bothered.
  const denied = [...narrow.calls, ...other.calls].filter((c) => c.status === 403);
  expect(denied.map((c) => `${c.verb} ${c.resource}`)).toEqual(["list httproutes", "list httproutes"]);
  expect([...narrow.warnings, ...other.warnings]).toEqual([]);
  await adapters.remove("others/other");
  await world.deletePod(theirs);
});

test("what the Role of a single namespace allows, and no more", async () => {
  await world.namespace("models");
  await namespaced("models");
  const list = async (namespace: string, account: string) =>
    (await world.kubectl("auth", "can-i", "--list", `--as=system:serviceaccount:${account}`, "-n", namespace)).split("\n");
  const may = async (namespace: string) => {
    const everybody = new Set((await list("default", "default:default")).map(words));
    return (await list(namespace, "aibrix-system:aibrix-controller-manager-models"))
      .map(words)
      .filter((l) => !everybody.has(l))
      .sort();
  };
  expect(await may("default")).toEqual([]);
  expect(await may("models")).toEqual([
    "endpointslices.discovery.k8s.io [list watch create patch delete]",
    "events.events.k8s.io [create patch]",
    "modeladapters.model.aibrix.ai [list watch patch]",
    "modeladapters.model.aibrix.ai/finalizers [update]",
    "modeladapters.model.aibrix.ai/status [patch]",
    "pods [get list watch]",
    "secrets [get]",
    "services [get list watch create patch delete]",
  ]);
  expect(await may("aibrix-system")).toEqual([
    "configmaps [aibrix-direct-leftovers-models] [get patch]",
    "configmaps [create]",
    "endpointslices.discovery.k8s.io [list watch create patch delete]",
    "leases.coordination.k8s.io [aibrix-controller-manager-models] [get update]",
    "leases.coordination.k8s.io [create]",
    "services [aibrix-engines] [patch]",
    "services [create]",
  ]);
});
