import { ANNOTATION_ABORT, ANNOTATION_CANARY_WEIGHT } from "@aibrix/api";
import { CONFIG_MAPS } from "@aibrix/kube";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { CrashingController, type Point } from "./support/crashing.ts";
import { digestAt } from "./support/fake-runtime.ts";
import { adapter, type FakePod, until } from "./support/world.ts";

/*
 * The controller killed by SIGKILL at named points of the flow. Whoever comes after it brings everything to its declared state: nothing is
 * loaded twice, nothing is left anywhere. The process that converged is the one that is killed at the next point.
 */

let n = 0;

useWorld();

const api = (when: "before" | "after", method: string, path: RegExp, body?: RegExp): Point => ({
  at: "api",
  when,
  call: (c) => c.method === method && path.test(c.path) && (body === undefined || body.test(c.body)),
});
const pod = (when: "before" | "after", path: RegExp): Point => ({ at: "pod", when, call: (asked) => path.test(asked.path) });

const OBJECT = /\/modeladapters\/[^/]+$/;
const STATUS = /\/modeladapters\/[^/]+\/status$/;
const SLICES = /\/endpointslices\//;
const LOAD = /\/load_lora_adapter$|lora_adapter\/load$/;
const UNLOAD = /\/unload_lora_adapter$|lora_adapter\/unload$/;
interface Named {
  readonly name: string;
  /** What is done when it dies: it is made, lowered to one replica, or deleted. */
  readonly during: "create" | "lower" | "delete";
  readonly point: Point;
}

const FINALIZER: Named = { name: "the finalizer after", during: "create", point: api("after", "PATCH", OBJECT) };
const WRITES: readonly Named[] = [
  { name: "the Service after", during: "create", point: api("after", "POST", /\/services$/) },
  { name: "the empty slice after", during: "create", point: api("after", "PATCH", SLICES) },
];
const INTENT_BEFORE: Named = { name: "the intent before", during: "create", point: api("before", "PATCH", STATUS) };
const LOADS: readonly Named[] = [
  { name: "the intent after", during: "create", point: api("after", "PATCH", STATUS) },
  { name: "the load before it arrives", during: "create", point: pod("before", LOAD) },
  { name: "the accepted load", during: "create", point: pod("after", LOAD) },
];
const SERVED: readonly Named[] = [
  { name: "the slice with a pod before", during: "create", point: api("before", "PATCH", SLICES, /"addresses"/) },
  { name: "the slice with a pod after", during: "create", point: api("after", "PATCH", SLICES, /"addresses"/) },
  { name: "Ready after", during: "create", point: api("after", "PATCH", STATUS, /ModelAdapterAvailable/) },
];
const WITHDRAWN: readonly Named[] = [
  { name: "the deleted slices", during: "delete", point: api("after", "DELETE", SLICES) },
  { name: "the deleted Service", during: "delete", point: api("after", "DELETE", /\/services\//) },
];
const UNLOADS: readonly Named[] = [
  { name: "the accepted unload", during: "lower", point: pod("after", UNLOAD) },
  { name: "Draining after", during: "delete", point: api("after", "PATCH", STATUS, /Draining/) },
  { name: "the unload before it arrives", during: "delete", point: pod("before", UNLOAD) },
  { name: "the accepted unload", during: "delete", point: pod("after", UNLOAD) },
  { name: "the removed finalizer", during: "delete", point: api("after", "PATCH", OBJECT) },
];

describe.each([
  {
    mode: "through the sidecar",
    flags: ["--enable-runtime-sidecar"],
    sidecar: true,
    points: [FINALIZER, ...WRITES, ...LOADS, ...SERVED, ...WITHDRAWN, ...UNLOADS],
  },
  { mode: "directly", flags: [], sidecar: false, points: [INTENT_BEFORE, ...LOADS, ...UNLOADS] },
])("killed $mode", ({ flags, sidecar, points }) => {
  const ns = sidecar ? "crash-sidecar" : "crash-direct";
  let controller: CrashingController;
  let pods: FakePod[] = [];

  beforeAll(async () => {
    await world.namespace(ns);
    pods = [await world.pod("a", { namespace: ns, sidecar }), await world.pod("b", { namespace: ns, sidecar })];
    // A load that may run still is not waited for for ten minutes.
    controller = await CrashingController.create(world, flags, { directPeriodMs: 100, bounds: { directLoadMs: 1_500 } });
  });

  afterAll(async () => {
    await controller?.[Symbol.asyncDispose]();
    for (const p of pods) await world.deletePod(p);
  });

  const holders = (name: string) => pods.filter((p) => (sidecar ? p.runtime.serving.includes(name) : p.engine.adapters.has(name)));
  /** How often each pod was told to load it. */
  const loads = (name: string) =>
    pods.map((p) =>
      sidecar
        ? p.runtime.loads.filter((l) => l.lora_name === name).length
        : p.engine.calls.filter((c) => c === `POST /v1/load_lora_adapter ${name}`).length,
    );

  test.each(points)("at $name ($during)", async ({ during, point }) => {
    const name = `x${n++}`;
    const key = `${ns}/${name}`;
    const object = (spec: Record<string, unknown>) =>
      world.applyObject(adapter(name, { artifactURL: "/models/x", ...spec }, { namespace: ns }));
    const serves = (count: number) =>
      until(`${count} serve`, async () => {
        const s = await adapters.status(key);
        const all = [s?.readyReplicas, (await adapters.addresses(key)).length, holders(name).length];
        return s?.conditions?.some((c) => c.type === "Ready" && c.status === "True") && all.every((x) => x === count);
      });
    const dies = async (before: number) => {
      await until("it is dead", () => controller.kills > before);
      await controller.start();
    };
    await controller.start();
    const { kills } = controller;
    if (during === "create") controller.arm(point);
    await object({ replicas: 2 });
    if (during === "create") await dies(kills);
    await serves(2);
    if (during === "lower") {
      controller.arm(point);
      await object({ replicas: 1 });
      await dies(kills);
      await serves(1);
    }
    if (during === "delete") controller.arm(point);
    await world.remove("ModelAdapter", key);
    if (during === "delete") await dies(kills);
    await until("it is gone", async () => (await world.get("ModelAdapter", key)) === undefined);
    await until("nobody has it", () => holders(name).length === 0);
    // What an edit declares anew a sidecar has already.
    const most = during === "lower" && sidecar ? [2, 1] : [1, 1];
    expect(loads(name).every((count, i) => count >= 1 && count <= (most[i] ?? 0))).toBe(true);
    expect([await world.get("Service", key), await adapters.slices(key)]).toEqual([undefined, []]);
    expect(pods.map((p) => p.engine.most)).toEqual(sidecar ? [0, 0] : [1, 1]);
    expect(controller.kills).toBe(kills + 1);
  });
});

describe("killed during an update", () => {
  const ns = "crash-update";
  const PREPARE = /lora_adapter\/prepare$/;
  const urls = ["s3://models/one", "s3://models/two"];
  let controller: CrashingController;
  let pods: FakePod[] = [];

  beforeAll(async () => {
    await world.namespace(ns);
    pods = [await world.pod("a", { namespace: ns, volume: true }), await world.pod("b", { namespace: ns, volume: true })];
    for (const { runtime } of pods) runtime.loadMs = 20;
    controller = await CrashingController.create(world, ["--enable-runtime-sidecar"], {});
  });

  afterAll(async () => {
    await controller?.[Symbol.asyncDispose]();
    for (const p of pods) await world.deletePod(p);
  });

  test.each([
    { name: "the update that is seen before", point: api("before", "PATCH", STATUS, /"Preparing"/) },
    { name: "the update that is seen after", point: api("after", "PATCH", STATUS, /"Preparing"/) },
    { name: "the prepare call before it arrives", point: pod("before", PREPARE) },
    { name: "the accepted prepare call", point: pod("after", PREPARE) },
    {
      name: "the resolved content",
      point: api("after", "PATCH", STATUS, /"state":"Preparing","contentDigest"|"contentDigest":"[^"]*","startTime"/),
    },
    { name: "the slice without the pod that is swapped before", point: api("before", "PATCH", SLICES) },
    { name: "the slice without the pod that is swapped after", point: api("after", "PATCH", SLICES) },
    { name: "the swap that is told before", point: api("before", "PATCH", STATUS, /"Swapping"/) },
    { name: "the swap that is told after", point: api("after", "PATCH", STATUS, /"Swapping"/) },
    { name: "the swap before it arrives", point: pod("before", LOAD) },
    { name: "the accepted swap", point: pod("after", LOAD) },
    { name: "Updated before", point: api("before", "PATCH", STATUS, /"reason":"Updated"/) },
    { name: "Updated after", point: api("after", "PATCH", STATUS, /"reason":"Updated"/) },
  ])("at $name", async ({ point }) => {
    const name = `x${n++}`;
    const key = `${ns}/${name}`;
    const declare = (artifactURL: string | undefined) => world.applyObject(adapter(name, { artifactURL }, { namespace: ns }));
    const [one, two] = urls;
    await controller.start();
    await declare(one);
    await until("both serve", async () => {
      const s = await adapters.status(key);
      return s?.readyReplicas === 2 && s.served !== undefined;
    });
    const { kills } = controller;
    controller.arm(point);
    await declare(two);
    await until("it is dead", () => controller.kills > kills);
    await controller.start();
    await until("it is updated", async () => {
      const s = await adapters.status(key);
      return s?.served?.artifactURL === two && s?.update === undefined && s?.readyReplicas === 2;
    });
    // One swap a pod, whoever asked for it, and as often.
    expect(pods.map((p) => p.runtime.swaps.filter((swap) => swap.startsWith(`${name} `)).length)).toEqual([1, 1]);
    expect((await adapters.addresses(key)).length).toBe(2);
    expect((await adapters.status(key))?.history?.map((h) => h.artifactURL)).toEqual([two, one]);
    await adapters.remove(key);
  });
});

describe("killed during a canary", () => {
  const ns = "crash-canary";
  const urls = ["s3://models/one", "s3://models/two"];
  let controller: CrashingController;
  let pods: FakePod[] = [];

  beforeAll(async () => {
    await world.namespace(ns);
    for (const name of ["a", "b", "c"]) pods.push(await world.pod(name, { namespace: ns, volume: true }));
    for (const { runtime } of pods) runtime.loadMs = 20;
    controller = await CrashingController.create(world, ["--enable-runtime-sidecar"], {});
  });

  afterAll(async () => {
    await controller?.[Symbol.asyncDispose]();
    for (const p of pods) await world.deletePod(p);
    pods = [];
  });

  const weight = (percent: number) => api("before", "PATCH", SLICES, new RegExp(`canary-weight":"${percent}"`));
  const weighed = (percent: number) => ({ ...weight(percent), when: "after" }) as const;
  const told = (step: number, more = "") => api("after", "PATCH", STATUS, new RegExp(`"step":${step},${more}`));
  const ABORTED = /"UpdateAborted"/;

  test.each([
    { name: "the first step before its pods serve", point: told(1, '"weight":0') },
    { name: "the swap of the first canary before it arrives", point: pod("before", LOAD) },
    { name: "the accepted swap of the first canary", point: pod("after", LOAD) },
    { name: "the slice of the first step before", point: weight(10) },
    { name: "the slice of the first step after", point: weighed(10) },
    { name: "the first step that is told", point: told(1, '"weight":10,"stepTime"') },
    { name: "the second step that is told before its pods serve", point: told(2, '"weight":10') },
    { name: "the slice of the second step after", point: weighed(50) },
    { name: "the second step that is told", point: told(2, '"weight":50,"stepTime"') },
    { name: "the last step that is told before all serve", point: told(3, '"weight":100') },
    { name: "the last step that is told", point: told(3, '"weight":100,"stepTime"') },
    { name: "Updated before", point: api("before", "PATCH", STATUS, /"reason":"Updated"/) },
    { name: "Updated after", point: api("after", "PATCH", STATUS, /"reason":"Updated"/) },
    { name: "the abort before it is told", point: api("before", "PATCH", STATUS, ABORTED), abort: true },
    { name: "the abort that is told", point: api("after", "PATCH", STATUS, ABORTED), abort: true },
    { name: "the slice of the canary that goes back before", point: api("before", "DELETE", SLICES), abort: true },
    { name: "the slice of the canary that goes back after", point: api("after", "DELETE", SLICES), abort: true },
  ])("at $name", async ({ point, abort = false }) => {
    const name = `x${n++}`;
    const key = `${ns}/${name}`;
    const [one, two] = urls;
    const steps = [
      { weight: 10, duration: abort ? "1h" : "1s" },
      { weight: 50, duration: "1s" },
      { weight: 100, duration: "1s" },
    ];
    const declare = (artifactURL: string | undefined, annotations: Record<string, string> = {}) =>
      world.applyObject(adapter(name, { artifactURL, rollout: { strategy: "Canary", canary: { steps } } }, { namespace: ns, annotations }));
    const times: Record<string, string> = {};
    const see = async () => {
      const u = (await adapters.status(key))?.update;
      if (u?.stepTime !== undefined && u.state === "Swapping") times[`${u.step} ${u.stepTime}`] = `${u.weight}`;
      return await adapters.status(key);
    };
    await controller.start();
    await declare(one);
    await until("all serve", async () => {
      const s = await adapters.status(key);
      return s?.readyReplicas === 3 && s.served !== undefined;
    });
    const { kills } = controller;
    if (!abort) controller.arm(point);
    await declare(two);
    if (abort) {
      await until("the first step has begun", async () => (await see())?.update?.weight === 10);
      controller.arm(point);
      await declare(two, { [ANNOTATION_ABORT]: "1" });
    }
    await until("it is dead", async () => {
      await see();
      return controller.kills > kills;
    });
    await controller.start();
    const end = abort ? one : two;
    await until(`${end} is served by all`, async () => {
      const s = await see();
      const settled = abort ? s?.update?.state === "Failed" && s.update.reason === "UpdateAborted" : s?.update === undefined;
      const isServed = pods.every((p) => p.runtime.servedDigest(name) === digestAt(end ?? ""));
      return (
        settled && isServed && s?.served?.artifactURL === end && s?.readyReplicas === 3 && (await adapters.addresses(key)).length === 3
      );
    });
    // A step that was begun and told went on with what was left of its time.
    const begun = Object.keys(times).map((time) => time.split(" ")[0]);
    expect(new Set(begun).size).toBe(begun.length);
    expect(pods.map((p) => p.runtime.swaps.filter((swap) => swap.startsWith(`${name} `)).length)).toEqual(abort ? [2, 0, 0] : [1, 1, 1]);
    const annotated = (await adapters.slices(key)).filter((s) => s.metadata.annotations?.[ANNOTATION_CANARY_WEIGHT] !== undefined);
    expect(annotated).toEqual([]);
    expect((await adapters.status(key))?.history?.map((h) => [h.artifactURL, h.outcome])).toEqual([
      [two, abort ? "Aborted" : "Served"],
      [one, "Served"],
    ]);
    expect(controller.kills).toBe(kills + 1);
    await adapters.remove(key);
  });
});

describe("killed while a deletion is given up that an engine without sidecar holds up", () => {
  const ns = "crash-left";
  const LEFT = /\/configmaps\/aibrix-direct-leftovers$/;
  let controller: CrashingController;
  let a: FakePod;

  beforeAll(async () => {
    await world.namespace(ns);
    a = await world.pod("a", { namespace: ns, sidecar: false });
    controller = await CrashingController.create(world, [], { directPeriodMs: 100, bounds: { deletionMs: 500, drainMs: 0 } });
  });

  afterAll(async () => {
    await controller?.[Symbol.asyncDispose]();
    await world.deletePod(a);
  });

  const left = async () => {
    const name = { namespace: "aibrix-system", name: "aibrix-direct-leftovers" };
    return Object.keys((await world.admin.find(CONFIG_MAPS, name, AbortSignal.timeout(10_000)))?.data ?? {});
  };

  test.each([
    { name: "the leftovers before", point: api("before", "PATCH", LEFT) },
    { name: "the leftovers after", point: api("after", "PATCH", LEFT) },
    { name: "the removed finalizer", point: api("after", "PATCH", OBJECT) },
  ])("at $name", async ({ point }) => {
    const name = `x${n++}`;
    const key = `${ns}/${name}`;
    await controller.start();
    await world.applyObject(adapter(name, { artifactURL: "/models/x" }, { namespace: ns }));
    await adapters.ready(key);
    const stuck = Promise.withResolvers<void>();
    a.engine.stuck = stuck.promise;
    const { kills } = controller;
    controller.arm(point);
    await world.remove("ModelAdapter", key);
    await until("it is dead", () => controller.kills > kills);
    await controller.start();
    await until("it is gone", async () => (await world.get("ModelAdapter", key)) === undefined);
    expect([a.engine.adapters.has(name), await left()]).toEqual([true, [expect.any(String)]]);
    a.engine.stuck = undefined;
    stuck.resolve();
    await until("the engine has given it up", () => !a.engine.adapters.has(name));
    await until("nothing is written down any more", async () => (await left()).length === 0);
    expect(a.engine.calls.filter((c) => c === `POST /v1/load_lora_adapter ${name}`)).toHaveLength(1);
  });

  test("at the leftovers struck out", async () => {
    const name = `x${n++}`;
    const key = `${ns}/${name}`;
    await controller.start();
    await world.applyObject(adapter(name, { artifactURL: "/models/x" }, { namespace: ns }));
    await adapters.ready(key);
    const stuck = Promise.withResolvers<void>();
    a.engine.stuck = stuck.promise;
    await adapters.remove(key);
    const { kills } = controller;
    controller.arm(api("before", "PATCH", LEFT, /null/));
    a.engine.stuck = undefined;
    stuck.resolve();
    await until("it is dead", () => controller.kills > kills);
    expect(await left()).toHaveLength(1);
    await controller.start();
    await until("nothing is written down any more", async () => (await left()).length === 0);
    expect(a.engine.adapters.has(name)).toBe(false);
  });
});
