import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { LoadRequest } from "@aibrix/api";
import { expect, test } from "vitest";
import { connectDirectly } from "../src/engines/agent.ts";
import { adapters, lora, made, ns, pod, useNamespaces, world } from "./support/case.ts";
import { type FakePod, type RunningController, until } from "./support/world.ts";

useNamespaces("placement");

/** What a sidecar of before it told ranks says of an adapter of this rank. */
function ofRank(rank: number) {
  return ({ limits }: LoadRequest) => {
    const limit = limits?.max_lora_rank;
    if (limit === undefined || limit >= rank) return "serving" as const;
    const message = `the adapter has rank ${rank}, the engine takes ${limit} at most: start it with more, or train it with less`;
    return { reason: "ArtifactUnfit", message, retryable: false };
  };
}

/** How often an event of a kind was told of the namespace's adapters. */
async function told(reason: string): Promise<number> {
  const counts = await world.kubectl(
    "get",
    "events",
    "-n",
    ns,
    "--field-selector",
    `reason=${reason}`,
    "-o",
    "jsonpath={.items[*].reason}",
  );
  return counts.split(" ").filter((x) => x !== "").length;
}

test("on 6 pods of 3 nodes and 2 zones each adapter has a replica in each zone, and each zone's pods have as many", async () => {
  const zones = new Map<string, string>();
  for (const [name, nodeName, zone] of [
    ["a", "n1", "east"],
    ["b", "n1", "east"],
    ["c", "n2", "east"],
    ["d", "n2", "east"],
    ["e", "n3", "west"],
    ["f", "n3", "west"],
  ] as const) {
    await pod(name, { nodeName, labels: { "topology.kubernetes.io/zone": zone } });
    zones.set(name, zone);
  }
  await world.controller();
  const names = Array.from({ length: 12 }, (_, i) => `x${i}`);
  await Promise.all(names.map((name) => world.applyObject(lora(name, { replicas: 2 }))));
  const placed = await Promise.all(names.map(async (name) => (await adapters.ready(`${ns}/${name}`)).instances ?? []));
  for (const pods of placed) expect(pods.map((p) => zones.get(p)).sort()).toEqual(["east", "west"]);
  const counts = Object.fromEntries(made.map(({ name }) => [name, placed.flat().filter((p) => p === name).length]));
  expect(counts).toEqual({ a: 3, b: 3, c: 3, d: 3, e: 6, f: 6 });
  await world.applyObject(lora("x0", { replicas: 3 }));
  const three = await until("three", async () => {
    const s = await adapters.status(`${ns}/x0`);
    return s?.readyReplicas === 3 ? s.instances : undefined;
  });
  expect(three).toEqual(expect.arrayContaining(placed[0] ?? []));
  const nodes = (three ?? []).map((p) => (["a", "b"].includes(p) ? "n1" : ["c", "d"].includes(p) ? "n2" : "n3"));
  expect(nodes.sort()).toEqual(["n1", "n2", "n3"]);
});

test("a rank that no pod takes waits and names the pods, also after a restart; a pod that takes it gets it without an edit", async () => {
  const a = await pod("a", { labels: { "model.aibrix.ai/max-lora-rank": "8" } });
  const b = await pod("b");
  for (const p of [a, b]) p.runtime.fate = ofRank(32);
  const controller = await world.controller();
  await world.applyObject(lora("x", { replicas: 1 }));
  const s = await adapters.condition(`${ns}/x`, "Scheduled", "False", "RankTooHigh");
  const why = `rank 32; ${ns}/a takes 8, ${ns}/b takes 16: start the engine with --max-lora-rank=32 or more`;
  expect(s).toMatchObject({ phase: "Pending", adapterRank: { value: 32 } });
  expect(s.conditions?.find((c) => c.type === "Ready")?.message).toBe(why);
  const asked = () => [...a.runtime.loads, ...b.runtime.loads].length;
  expect(asked()).toBe(1);
  await until("nothing is left there", () => a.runtime.unloads.length + b.runtime.unloads.length > 0);
  await controller.stop();
  const again = await world.controller();
  await adapters.decided(`${ns}/x`, again);
  expect(await adapters.refusal(`${ns}/x`, "RankTooHigh")).toBe(why);
  expect(asked()).toBe(1);
  const c = await pod("c", { labels: { "model.aibrix.ai/max-lora-rank": "64" } });
  c.runtime.fate = ofRank(32);
  expect(await adapters.ready(`${ns}/x`)).toMatchObject({ instances: ["c"], phase: "Running" });
  expect(asked()).toBe(1);
});

test("without replicas the pods that take the rank serve it, and the others are named", async () => {
  const pods = [
    await pod("a", { labels: { "model.aibrix.ai/max-lora-rank": "8" } }),
    await pod("b"),
    await pod("c", { labels: { "model.aibrix.ai/max-lora-rank": "64" } }),
  ];
  for (const p of pods) p.runtime.fate = ofRank(32);
  await world.controller();
  await world.applyObject(lora("x"));
  const s = await until("it is on c alone", async () => {
    const now = await adapters.status(`${ns}/x`);
    return now?.readyReplicas === 1 && now.pods?.length === 1 ? now : undefined;
  });
  expect(s.instances).toEqual(["c"]);
  expect(s.conditions?.find((c) => c.type === "Scheduled")).toMatchObject({
    status: "True",
    message: `ModelAdapter ${ns}/x has been allocated to pod ${ns}/c; on no others: rank 32; ${ns}/a takes 8, ${ns}/b takes 16: start the engine with --max-lora-rank=32 or more`,
  });
});

test("a pod that refuses for a reason of its own, and one that falls silent, give their replica away; it does not come back", async () => {
  const [a, b, c] = [await pod("a"), await pod("b"), await pod("c")];
  a.runtime.fate = () => ({ reason: "EngineRuntimeUpdatingDisabled", message: "the engine runs without LoRA", retryable: false });
  await world.controller(undefined, { sidecarSilenceMs: 2_500, bounds: { lostMs: 1_000 } });
  await world.applyObject(lora("x", { replicas: 1 }));
  expect((await adapters.ready(`${ns}/x`)).instances).toEqual(["b"]);
  await until("an event tells of it", async () => (await told("Exchanged")) === 1);
  world.pods.put(b.ip, 8080, undefined);
  b.runtime.dropStreams();
  const moved = await until("it is on c", async () => {
    const s = await adapters.status(`${ns}/x`);
    return s?.readyReplicas === 1 && s.instances?.[0] === "c" ? s : undefined;
  });
  expect(moved.pods?.find((p) => p.name === "b")).toMatchObject({ state: "Draining", reason: "RuntimeUnavailable" });
  await until("an event tells of it", async () => (await told("Exchanged")) === 2);
  world.pods.put(b.ip, 8080, b.runtime);
  await until("b has given it up", () => b.runtime.unloads.length > 0 && b.runtime.serving.length === 0);
  const rows = async () => (await adapters.status(`${ns}/x`))?.pods?.map((p) => `${p.name} ${p.state}`);
  await until("the row is gone", async () => (await rows())?.join() === "c Serving,a Failed");
  expect(await adapters.addresses(`${ns}/x`)).toEqual([c.ip]);
  expect([a.runtime.loads.length, b.runtime.loads.length, c.runtime.loads.length]).toEqual([1, 1, 1]);
  // Another controller knows that, too.
  await world.stopControllers();
  await world.controller();
  await world.applyObject(lora("x", { replicas: 2 }));
  await until("it is on b again", async () => (await adapters.status(`${ns}/x`))?.readyReplicas === 2);
  await world.applyObject(lora("y"));
  await adapters.ready(`${ns}/y`);
  expect(a.runtime.loads.map((l) => l.lora_name)).toEqual(["x", "y"]);
});

const WAYS = [
  { where: "without sidecar", sidecar: false },
  { where: "behind a sidecar", sidecar: true },
];
const RUNS = [
  { run: "first", restarts: 0 },
  { run: "second", restarts: 1 },
];
const WAYS_AND_RUNS = WAYS.flatMap((way) => RUNS.map((r) => ({ ...way, ...r })));

/** Has x refused for good by the pod a, for its engine's reason, and served by b. */
async function refusedByOne(
  sidecar: boolean,
  restarts: number,
): Promise<{ readonly a: FakePod; readonly b: FakePod; readonly controller: RunningController }> {
  const [a, b] = [await pod("a", { sidecar }), await pod("b", { sidecar })];
  await world.setReady(a, true, new Date(0), restarts);
  a.engine.runtimeUpdating = false;
  a.runtime.fate = () => ({ reason: "EngineRuntimeUpdatingDisabled", message: "the engine runs without LoRA", retryable: false });
  const controller = await world.controller();
  await world.applyObject(lora("x", { replicas: 1 }));
  await until("it is on b, and a's refusal is written down", async () => {
    const s = await adapters.status(`${ns}/x`);
    return (
      s?.instances?.join() === "b" && s.pods?.some((p) => p.name === "a" && p.state === "Failed" && p.refusedFingerprint !== undefined)
    );
  });
  await adapters.ready(`${ns}/x`);
  return { a, b, controller };
}

function mend(a: FakePod): void {
  a.engine.runtimeUpdating = true;
  a.runtime.fate = () => "serving";
}

async function remove(p: FakePod): Promise<void> {
  await world.deletePod(p);
}

const ACTORS = [
  { by: "the same", another: false },
  { by: "another", another: true },
];
const ALL_WAYS = WAYS_AND_RUNS.flatMap((way) => ACTORS.map((actor) => ({ ...way, ...actor })));

test.each(ALL_WAYS)(
  "one pod $where that refused for good in its engine's $run run is not asked again by $by controller, though no other is left; an edit is",
  async ({ sidecar, restarts, another }) => {
    const refused = await refusedByOne(sidecar, restarts);
    const { a, b } = refused;
    const asked = () => (sidecar ? a.runtime.loads.length : a.engine.calls.filter((c) => c.startsWith("POST")).length);
    expect(asked()).toBe(1);
    if (another) await world.stopControllers();
    await remove(b);
    const controller = another ? await world.controller() : refused.controller;
    expect(await adapters.refusal(`${ns}/x`, "EngineRuntimeUpdatingDisabled")).toMatch(
      sidecar ? /the engine runs without LoRA/ : /VLLM_ALLOW_RUNTIME_LORA_UPDATING/,
    );
    await adapters.decided(`${ns}/x`, controller);
    expect(asked()).toBe(1);
    mend(a);
    await world.applyObject(lora("x", { replicas: 2 }));
    await adapters.ready(`${ns}/x`);
  },
);

test.each(ALL_WAYS)(
  "an engine $where that refused for good in its $run run, and was started anew since, is asked again, by $by controller",
  async ({ sidecar, restarts, another }) => {
    const { a, b } = await refusedByOne(sidecar, restarts);
    if (another) await world.stopControllers();
    mend(a);
    await world.setReady(a, true, new Date(), restarts + 1);
    if (another) await world.controller();
    await remove(b);
    await until(
      "it is on a",
      async () => (await adapters.status(`${ns}/x`))?.readyReplicas === 1 && (await adapters.addresses(`${ns}/x`)).includes(a.ip),
    );
  },
);

test("a pod that refused for good, and has served it since by its sidecar alone, is asked where it loses it", async () => {
  const a = await pod("a");
  a.runtime.fate = () => ({ reason: "EngineRuntimeUpdatingDisabled", message: "the engine runs without LoRA", retryable: false });
  await world.controller();
  await world.applyObject(lora("x", { replicas: 1 }));
  await adapters.refusal(`${ns}/x`, "EngineRuntimeUpdatingDisabled");
  mend(a);
  // The sidecar sees its engine come back, which no restart of a container tells of.
  a.runtime.setEngine(false);
  a.runtime.setEngine(true);
  await adapters.ready(`${ns}/x`);
  a.runtime.removeByHand("x");
  await until("it is asked for again", () => a.runtime.loads.length === 2);
  await adapters.ready(`${ns}/x`);
});

test("a pod with more adapters than its engine holds in memory is told of once", async () => {
  await pod("a", { labels: { "model.aibrix.ai/max-cpu-loras": "2" } });
  const controller = await world.controller();
  for (const name of ["x0", "x1", "x2", "x3"]) {
    await world.applyObject(lora(name));
    await adapters.ready(`${ns}/${name}`);
    expect(await told("Overcommitted")).toBeLessThanOrEqual(name < "x2" ? 0 : 1);
  }
  await until("an event tells of it", async () => (await told("Overcommitted")) === 1);
  const note = await world.kubectl(
    "get",
    "events",
    "-n",
    ns,
    "--field-selector",
    "reason=Overcommitted",
    "-o",
    "jsonpath={.items[*].message}",
  );
  expect(note).toContain(`pod ${ns}/a has 3 adapters and its engine holds 2 in memory`);
  await adapters.decided(`${ns}/x3`, controller);
  expect(await told("Overcommitted")).toBe(1);
});

test("a pod with IPv6 alone and one with both families are in slices of their families", async () => {
  const six = await pod("six", { ips: ["fd00:10:244::6"] });
  const both = await pod("both", { ips: ["10.250.0.7", "fd00:10:244::7"] });
  await world.controller();
  await world.applyObject(lora("x"));
  await until("both serve it", async () => (await adapters.status(`${ns}/x`))?.readyReplicas === 2);
  const families = Object.fromEntries(
    (await adapters.slices(`${ns}/x`)).map((s) => [s.addressType, (s.endpoints ?? []).flatMap((e) => e.addresses).sort()]),
  );
  expect(families).toEqual({ IPv4: ["10.250.0.7"], IPv6: ["fd00:10:244::6", "fd00:10:244::7"] });
  expect([six.runtime.serving, both.runtime.serving]).toEqual([["x"], ["x"]]);
});

test("a pod is talked to by its IPv6 address", async () => {
  const server = createServer((_, reply) => reply.end("here"));
  await new Promise<void>((resolve) => server.listen(0, "::1", resolve));
  const url = connectDirectly("::1", (server.address() as AddressInfo).port);
  expect(url).toMatch(/^http:\/\/\[::1\]:\d+$/);
  expect(await (await fetch(url)).text()).toBe("here");
  await new Promise((resolve) => server.close(resolve));
});
