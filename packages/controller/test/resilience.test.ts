import { LEASES } from "@aibrix/kube";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Adapters } from "./support/adapters.ts";
import { ControllerProcess, freePort } from "./support/process.ts";
import { adapter, type FakePod, until, World } from "./support/world.ts";

const LEASE = { leaseMs: 3_000, renewMs: 2_000, retryMs: 200 };

let world: World;
let adapters: Adapters;
let pod: FakePod;
let n = 0;

beforeAll(async () => {
  world = await World.start();
  adapters = new Adapters(world);
}, 3_600_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

beforeEach(async () => {
  pod = await world.pod(`pod-${n++}`);
});

afterEach(async () => {
  await world.stopControllers();
  await world.deletePod(pod);
});

test("kube-apiserver killed and restarted: what happened meanwhile is made good, without a hot loop", async () => {
  const controller = await world.controller();
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  await world.plane.killApiserver();
  const before = controller.calls.length;
  // The engine loses its adapters while nobody can be told.
  pod.runtime.setEngine(false);
  await until("some calls have failed", () => controller.calls.slice(before).filter((c) => c.status === 0).length >= 5);
  await world.plane.startApiserver(AbortSignal.timeout(120_000));
  await adapters.condition("default/x", "Ready", "False");
  expect(await adapters.addresses("default/x")).toEqual([]);
  pod.runtime.setEngine(true);
  await adapters.ready("default/x");
  await world.applyObject(adapter("y"));
  await adapters.ready("default/y");
  expect(controller.calls.length - before).toBeLessThan(300);
  expect(pod.runtime.loads.map((l) => l.lora_name)).toEqual(["x", "y"]);
  await adapters.remove("default/x", "default/y");
});

test("somebody who writes all the time: it converges, and deletion ends", async () => {
  const controller = await world.controller();
  const stop = new AbortController();
  let writes = 0;
  const spoil = (async () => {
    while (!stop.signal.aborted) {
      await world.kubectl("annotate", "modeladapter", "x", "--overwrite", `spoiler=${writes++}`);
    }
  })();
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  await until("many writes", () => writes > 20);
  await adapters.remove("default/x");
  stop.abort();
  await spoil;
  expect(pod.runtime.loads).toHaveLength(1);
  expect(controller.calls.filter((c) => c.verb !== "watch").length).toBeLessThan(40 + 2 * writes);
});

test("two controllers: one acts, and the other takes over when it stops", async () => {
  const flags = ["--enable-runtime-sidecar", "--leader-elect"];
  const first = await world.controller(flags, { lease: LEASE });
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  const second = await world.controller(flags, { lease: LEASE });
  await until("the second is ready", () => second.notReady() === undefined);
  await world.applyObject(adapter("y"));
  await adapters.ready("default/y");
  expect(second.calls.filter((c) => ["patch", "create", "delete"].includes(c.verb))).toEqual([]);
  expect(pod.runtime.watches).toBe(1);
  await first.stop();
  const lease = await world.admin.find(
    LEASES,
    { namespace: "aibrix-system", name: "aibrix-controller-manager" },
    AbortSignal.timeout(10_000),
  );
  expect(lease).toBeDefined();
  await world.applyObject(adapter("z"));
  await adapters.ready("default/z");
  expect(pod.runtime.loads.map((l) => l.lora_name)).toEqual(["x", "y", "z"]);
  await adapters.remove("default/x", "default/y", "default/z");
});

test("the program: health, readiness, metrics, and the lease given back on SIGTERM", async () => {
  const metrics = `127.0.0.1:${await freePort()}`;
  await using one = await ControllerProcess.start(world, [
    "--leader-elect",
    "--enable-runtime-sidecar",
    `--metrics-bind-address=${metrics}`,
  ]);
  await until("it is ready", async () => (await one.get("/readyz")) === 200);
  expect(await one.get("/healthz")).toBe(200);
  const holder = async () => {
    const lease = await world.admin.find(
      LEASES,
      { namespace: "aibrix-system", name: "aibrix-controller-manager" },
      AbortSignal.timeout(10_000),
    );
    return lease?.spec?.holderIdentity;
  };
  await until("it leads", async () => (await holder())?.startsWith("manager-0_"));
  await until("the metrics say so", async () => {
    const text = await (await fetch(`http://${metrics}/metrics`, { signal: AbortSignal.timeout(5_000) })).text();
    return text.includes("aibrix_controller_leader 1") && text.includes('aibrix_controller_adapters{phase="Running"} 0');
  });
  await using two = await ControllerProcess.start(world, ["--leader-elect", "--enable-runtime-sidecar"]);
  await until("the standby is ready too", async () => (await two.get("/readyz")) === 200);
  expect(await one.stop()).toBe(0);
  expect((await holder()) ?? "").not.toMatch(/^manager-0_/);
  expect(await two.stop()).toBe(0);
});
