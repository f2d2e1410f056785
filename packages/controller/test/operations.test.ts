import { LEASES } from "@aibrix/kube";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Adapters } from "./support/adapters.ts";
import { ApiProxy } from "./support/api-proxy.ts";
import { ControllerProcess } from "./support/process.ts";
import { adapter, until, World } from "./support/world.ts";

const FLAGS = ["--leader-elect", "--enable-runtime-sidecar"];

let world: World;
let adapters: Adapters;

beforeAll(async () => {
  world = await World.start();
  adapters = new Adapters(world);
}, 3_600_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

afterEach(async () => {
  await world.stopControllers();
});

/** Whoever holds the lease; empty where it was given back. */
async function holder(): Promise<string> {
  const name = { namespace: "aibrix-system", name: "aibrix-controller-manager" };
  return (await world.admin.find(LEASES, name, AbortSignal.timeout(10_000)))?.spec?.holderIdentity ?? "";
}

/** Somebody acts on an adapter that no pod will ever have. */
async function actedOn(name: string): Promise<void> {
  await world.applyObject(adapter(name, { podSelector: { matchLabels: { nobody: "has-this" } } }));
  await adapters.condition(`default/${name}`, "Ready", "False");
}

test("the leader's process is killed: the other one acts once the lease is over, and at once where the leader ends in order", async () => {
  await using one = await ControllerProcess.start(world, FLAGS);
  await until("the first leads", holder);
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

test("an API server that has told nothing for a while is a reason not to be ready, until it answers", async () => {
  await using proxy = await ApiProxy.start(world.plane);
  const controller = await world.controller(["--enable-runtime-sidecar"], { health: { disconnectedMs: 500 } }, proxy);
  await until("it is ready", () => controller.notReady() === undefined);
  proxy.cut();
  expect(controller.notReady()).toBeUndefined();
  const reason = await until("it is not ready", () => controller.notReady());
  expect(reason).toMatch(/^for \d+ s the API server has told nothing of .*pods.*: is it reachable/);
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
