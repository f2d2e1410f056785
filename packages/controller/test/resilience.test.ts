import { KubeError, LEASES } from "@aibrix/kube";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ApiProxy } from "./support/api-proxy.ts";
import { adapters, useWorld, world } from "./support/case.ts";
import { ControllerProcess, freePort } from "./support/process.ts";
import { adapter, type FakePod, until } from "./support/world.ts";

/** How long the API server is away. */
const OUTAGE_MS = 60_000;
const LEASE = { leaseMs: 3_000, renewMs: 2_000, retryMs: 200 };

let pod: FakePod;
let n = 0;

useWorld();

beforeEach(async () => {
  pod = await world.pod(`pod-${n++}`);
});

afterEach(async () => {
  await world.clear();
});

test("kube-apiserver killed, and back after a minute: what happened meanwhile is made good, without a hot loop", async () => {
  const controller = await world.controller();
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  await world.plane.killApiserver();
  const killedMs = performance.now();
  const before = controller.calls.length;
  // The engine loses its adapters while nobody can be told.
  pod.runtime.setEngine(false);
  await until("it was away for a minute", () => performance.now() - killedMs >= OUTAGE_MS, 2 * OUTAGE_MS);
  const failed = controller.calls.slice(before).filter((c) => c.status === 0).length;
  expect(failed).toBeGreaterThanOrEqual(5);
  expect(failed).toBeLessThan(200);
  await world.plane.startApiserver(AbortSignal.timeout(120_000));
  await adapters.condition("default/x", "Ready", "False");
  await until("out of the slices", async () => (await adapters.addresses("default/x")).length === 0);
  pod.runtime.setEngine(true);
  await adapters.ready("default/x");
  await world.applyObject(adapter("y"));
  await adapters.ready("default/y");
  expect(controller.calls.length - before).toBeLessThan(300);
  expect(pod.runtime.loads.map((l) => l.lora_name)).toEqual(["x", "y"]);
  await adapters.remove("default/x", "default/y");
});

test("watches that expired while the line was cut: all is listed again, once, and what was missed is made good", async () => {
  await using proxy = await ApiProxy.start(world.plane);
  const controller = await world.controller(undefined, {}, proxy);
  for (const name of ["x", "y"]) await world.applyObject(adapter(name));
  for (const name of ["x", "y"]) await adapters.ready(`default/${name}`);
  const before = controller.calls.length;
  proxy.cut();
  await world.applyObject(adapter("x", { artifactURL: "huggingface://acme/other" }));
  await world.applyObject(adapter("z"));
  await world.remove("Service", "default/x");
  // Gone without a trace: nobody will ever tell of it but the list.
  await world.kubectl("patch", "modeladapter", "y", "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
  await world.remove("ModelAdapter", "default/y");
  // A server that was restarted remembers no older versions.
  await world.plane.restartApiserver(AbortSignal.timeout(120_000));
  await world.kubectl("annotate", "modeladapters", "--all", "seen=1");
  await world.plane.restartApiserver(AbortSignal.timeout(120_000));
  await until("some calls have failed", () => controller.calls.slice(before).filter((c) => c.status === 0).length >= 5);
  proxy.join();
  await until("the second generation is served", async () => (await adapters.status("default/x"))?.observedGeneration === 2);
  await adapters.ready("default/x");
  await adapters.ready("default/z");
  await until("the Service is back", () => world.get("Service", "default/x"));
  await until("what is gone is unloaded", () => !pod.runtime.serving.includes("y"));
  expect([...pod.runtime.serving].sort()).toEqual(["x", "z"]);
  expect(pod.runtime.loads.map((l) => l.lora_name).sort()).toEqual(["x", "x", "y", "z"]);
  const since = () => controller.calls.slice(before);
  const lists = (resource: string) => since().filter((c) => c.verb === "list" && c.resource === resource && c.status === 200).length;
  // Two collections are of slices. Each comes when its backoff ends.
  const watched = ["modeladapters", "pods", "services", "endpointslices"];
  await until("all was listed", () => watched.every((r) => lists(r) >= (r === "endpointslices" ? 2 : 1)));
  expect(watched.map(lists)).toEqual([1, 1, 1, 2]);
  const after = since();
  expect(after.filter((c) => c.verb !== "watch").length).toBeLessThan(80);
  expect(after.length).toBeLessThan(250);
  await adapters.remove("default/x", "default/z");
});

test("every watch is told that its version expired, again and again: no hot loop, and then it goes on", async () => {
  await using proxy = await ApiProxy.start(world.plane);
  const controller = await world.controller(undefined, {}, proxy);
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  let told = 0;
  proxy.judge = ({ query }) => {
    if (query.get("watch") !== "true") return undefined;
    told++;
    return { code: 410, reason: "Expired", message: "too old resource version: 1 (2)" };
  };
  const before = controller.calls.length;
  proxy.cut();
  proxy.join();
  // Five collections, each some times: with its backoff that takes seconds.
  await until("many were told", () => told >= 15);
  await world.applyObject(adapter("y"));
  proxy.judge = () => undefined;
  await adapters.ready("default/y");
  const after = controller.calls.slice(before);
  expect(after.filter((c) => c.status === 410).length).toBe(told);
  expect(told).toBeLessThan(50);
  // One list for each.
  expect(after.filter((c) => c.verb === "list").length).toBeLessThanOrEqual(told + 5);
  expect(pod.runtime.loads.map((l) => l.lora_name)).toEqual(["x", "y"]);
  await adapters.remove("default/x", "default/y");
});

test("a conflict on every write, twice: it converges, nothing is loaded twice, and deletion ends", async () => {
  await using proxy = await ApiProxy.start(world.plane);
  const tries = new Map<string, number>();
  proxy.judge = ({ method, path }) => {
    if (method === "GET") return undefined;
    const tried = (tries.get(`${method} ${path}`) ?? 0) + 1;
    tries.set(`${method} ${path}`, tried);
    if (tried % 3 === 0) return undefined;
    return { code: 409, reason: "Conflict", message: "the object has been modified; please apply your changes to the latest version" };
  };
  const controller = await world.controller(undefined, {}, proxy);
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  expect(await adapters.addresses("default/x")).toEqual([pod.ip]);
  expect(pod.runtime.loads).toHaveLength(1);
  pod.runtime.setEngine(false);
  await until("out of the slices", async () => (await adapters.addresses("default/x")).length === 0);
  pod.runtime.setEngine(true);
  await adapters.ready("default/x");
  await adapters.remove("default/x");
  expect(pod.runtime.serving).toEqual([]);
  expect(pod.runtime.loads).toHaveLength(1);
  const conflicts = controller.calls.filter((c) => c.status === 409);
  const met = conflicts.map((c) => [c.verb, c.resource, c.subresource ?? ""].join(" ").trim());
  expect([...new Set(met)].sort()).toEqual([
    "create events",
    "create services",
    "delete endpointslices",
    "delete services",
    "patch endpointslices",
    "patch modeladapters",
    "patch modeladapters status",
    // aibrix-engines
    "patch services",
  ]);
  for (const kind of new Set(met)) expect([kind, met.filter((k) => k === kind).length >= 2]).toEqual([kind, true]);
  expect(controller.calls.filter((c) => c.verb !== "watch").length).toBeLessThan(120);
});

test("somebody who writes between every read and write: real conflicts, and it converges", async () => {
  await using proxy = await ApiProxy.start(world.plane);
  const bumps = { ModelAdapter: 0, Service: 0 };
  const bump = async (kind: keyof typeof bumps) => {
    if (bumps[kind] >= 3) return;
    const annotations = { bump: `${bumps[kind]++}` };
    const name = { namespace: "default", name: "x" };
    await world.admin.mergePatch(world.resource(kind), name, { metadata: { annotations } }, {}, AbortSignal.timeout(10_000));
  };
  proxy.judge = async ({ method, path }) => {
    if (method === "PATCH" && path.endsWith("/modeladapters/x")) await bump("ModelAdapter");
    if (method === "PATCH" && path.endsWith("/services/x")) await bump("Service");
    return undefined;
  };
  const controller = await world.controller(undefined, {}, proxy);
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  await world.kubectl("label", "service", "x", "--overwrite", "model.aibrix.ai/name=edited");
  await until("the edit is undone", async () => {
    const service = await world.get("Service", "default/x");
    return service?.metadata.labels?.["model.aibrix.ai/name"] === "x";
  });
  const conflicts = (resource: string) => controller.calls.filter((c) => c.resource === resource && c.status === 409).length;
  expect([bumps, conflicts("modeladapters"), conflicts("services")]).toEqual([{ ModelAdapter: 3, Service: 3 }, 3, 3]);
  bumps.ModelAdapter = 0;
  await adapters.remove("default/x");
  expect(conflicts("modeladapters")).toBe(6);
  expect(pod.runtime.loads).toHaveLength(1);
  expect(controller.calls.filter((c) => c.verb !== "watch").length).toBeLessThan(80);
});

test("somebody who writes all the time: it converges, and deletion ends", async () => {
  const controller = await world.controller();
  await world.applyObject(adapter("x"));
  let writes = 0;
  const spoil = (async () => {
    const name = { namespace: "default", name: "x" };
    for (;;) {
      const patch = { metadata: { annotations: { spoiler: `${writes}` } } };
      try {
        await world.admin.mergePatch(world.resource("ModelAdapter"), name, patch, {}, AbortSignal.timeout(30_000));
      } catch (error) {
        if (error instanceof KubeError && error.notFound) return;
        throw error;
      }
      writes++;
    }
  })();
  await adapters.ready("default/x");
  const calls = () => controller.calls.filter((c) => c.verb !== "watch").length;
  const [atReady, callsAtReady] = [writes, calls()];
  await until("many writes", () => writes > atReady + 200);
  // Writes of others that change nothing for us cost nothing.
  expect(calls() - callsAtReady).toBeLessThan(10);
  await adapters.remove("default/x");
  // It ends by itself, once there is nothing to write to.
  await spoil;
  expect(writes).toBeGreaterThan(atReady);
  expect(pod.runtime.loads).toHaveLength(1);
  // What else was called is for the adapter's own steps, and their conflicts.
  expect(calls()).toBeLessThan(100);
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
