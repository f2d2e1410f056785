import { CONFIG_MAPS } from "@aibrix/kube";
import { expect, test } from "vitest";
import type { Timing } from "../src/index.ts";
import { adapters, lora, ns, pod, useNamespaces, world } from "./support/case.ts";
import { type FakePod, until } from "./support/world.ts";

useNamespaces("direct");

/** The controller as it is started without --enable-runtime-sidecar. */
async function controller(timing: Timing = {}) {
  return await world.controller([], { directPeriodMs: 200, ...timing });
}

/** Lets loads of an engine hang until the answer is called. */
function hold(p: FakePod): () => void {
  let open: () => void = () => undefined;
  p.engine.gate = new Promise((resolve) => {
    open = resolve;
  });
  return open;
}

/** Lets an engine hang until the answer is called. */
function stick(...pods: readonly FakePod[]): () => void {
  const stuck = Promise.withResolvers<void>();
  for (const p of pods) p.engine.stuck = stuck.promise;
  return () => {
    for (const p of pods) p.engine.stuck = undefined;
    stuck.resolve();
  };
}

/** What is written down of what deletions left in engines, by the pod's uid. */
async function leftovers(): Promise<readonly string[]> {
  const name = { namespace: "aibrix-system", name: "aibrix-direct-leftovers" };
  return Object.values((await world.admin.find(CONFIG_MAPS, name, AbortSignal.timeout(10_000)))?.data ?? {});
}

/** Deletes an adapter while engines hang, so that it is given up, and ends the controller. */
async function giveUp(name: string): Promise<void> {
  await adapters.remove(`${ns}/${name}`);
  await until("GivenUp is told", async () => (await adapters.events(`${ns}/${name}`)).includes("GivenUp"));
  await world.stopControllers();
}

/** The only pod of an adapter, out of the slices: an edit waits for requests of what serves, for its engine has one slot. */
async function waiting(): Promise<FakePod> {
  const a = await pod("a");
  a.engine.maxLoras = 1;
  await controller();
  await world.applyObject(lora("x", { artifactURL: "/models/one" }));
  await adapters.ready(`${ns}/x`);
  a.engine.busy.add("x");
  await world.applyObject(lora("x", { artifactURL: "/models/two" }));
  await until("nobody is sent there", async () => (await adapters.addresses(`${ns}/x`)).length === 0);
  return a;
}

test("the engine is called itself, with the name of the repository, and asked what it serves", async () => {
  const a = await pod("a");
  await controller();
  await world.applyObject(lora("x"));
  const s = await adapters.ready(`${ns}/x`);
  expect(a.runtime.watches + a.runtime.loads.length).toBe(0);
  expect(a.engine.adapters.get("x")).toBe("acme/x");
  expect(s.pods).toMatchObject([{ name: "a", state: "Serving", delivery: "Engine" }]);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
  await adapters.remove(`${ns}/x`);
  expect(a.engine.adapters.size).toBe(0);
  expect(a.engine.calls.filter((c) => c.startsWith("POST"))).toEqual(["POST /v1/load_lora_adapter x", "POST /v1/unload_lora_adapter x"]);
});

test("an engine without adapters of ours is not asked at all", async () => {
  const a = await pod("a");
  await controller();
  await until("the engines are listed", async () => (await adapters.addresses("aibrix-system/aibrix-engines")).includes(a.ip));
  expect(a.engine.calls).toEqual([]);
});

test.each([
  { url: "s3://models/x", why: /the engine cannot read s3:\/\/models\/x itself .*: start the controller with --enable-runtime-sidecar/ },
  { url: "huggingface://acme/x@v1", why: /cannot pin the revision v1: .*--enable-runtime-sidecar/ },
])("$url is refused with the reason", async ({ url, why }) => {
  const a = await pod("a", { volume: true });
  await controller();
  await world.applyObject(lora("x", { artifactURL: url }));
  expect(await adapters.refusal(`${ns}/x`, "VolumeMissing")).toMatch(why);
  expect(a.engine.calls).toEqual([]);
});

test("a pod without the sidecar is called directly also where sidecars are used", async () => {
  const a = await pod("a", { sidecar: false });
  await world.controller(["--enable-runtime-sidecar"], { directPeriodMs: 200 });
  await world.applyObject(lora("x", { artifactURL: "/models/x" }));
  await adapters.ready(`${ns}/x`);
  expect(a.engine.adapters.get("x")).toBe("/models/x");
});

test.each([
  {
    name: "runtime updating is off",
    spoil: (p: FakePod) => (p.engine.runtimeUpdating = false),
    reason: "EngineRuntimeUpdatingDisabled",
    why: /VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora/,
  },
  {
    name: "it wants a key",
    spoil: (p: FakePod) => (p.engine.apiKey = "sk-1"),
    reason: "EngineUnauthorized",
    why: /wants an API key, .*: set .* apiKeySecretRef/,
  },
  {
    name: "the repository does not exist",
    spoil: (p: FakePod) => (p.engine.exists = () => false),
    reason: "ArtifactNotFound",
    why: /cannot fetch acme\/x itself: check the artifactURL/,
  },
  {
    name: "an old release says that it does not exist",
    spoil: (p: FakePod) => {
      p.engine.exists = () => false;
      p.engine.oldErrors = true;
    },
    reason: "ArtifactNotFound",
    why: /cannot fetch acme\/x itself/,
  },
])("cause and remedy are told where $name", async ({ spoil, reason, why }) => {
  const a = await pod("a");
  spoil(a);
  await controller();
  await world.applyObject(lora("x"));
  expect(await adapters.refusal(`${ns}/x`, reason)).toMatch(why);
  expect((await adapters.status(`${ns}/x`))?.phase).toBe("Failed");
});

test("the engine's key comes from a Secret, a changed one is taken, and it is shown nowhere", async () => {
  const a = await pod("a");
  a.engine.apiKey = "sk-right-key";
  const secret = (key: string) =>
    ({ apiVersion: "v1", kind: "Secret", metadata: { name: "key", namespace: ns }, stringData: { k: key } }) as never;
  await world.applyObject(secret("sk-wrong-key"));
  await world.controller([], { directPeriodMs: 200, secretMaxAgeMs: 0 });
  await world.applyObject(lora("x", { apiKeySecretRef: { name: "key", key: "k" } }));
  await adapters.refusal(`${ns}/x`, "EngineUnauthorized");
  await world.applyObject(secret("sk-right-key"));
  await world.applyObject(lora("x", { apiKeySecretRef: { name: "key", key: "k" }, replicas: 1 }));
  await adapters.ready(`${ns}/x`);
  const shown = await world.kubectl("get", "modeladapters,events", "-n", ns, "-o", "yaml");
  expect(shown).not.toMatch(/sk-(right|wrong)-key/);
});

test("a Secret that is missing is named, and found once it is there", async () => {
  await pod("a");
  await controller();
  await world.applyObject(lora("x", { apiKeySecretRef: { name: "key", key: "k" } }));
  expect(await adapters.refusal(`${ns}/x`, "SecretNotFound")).toMatch(
    /the Secret key of apiKeySecretRef does not exist in the namespace .*create it/,
  );
  await world.applyObject({ apiVersion: "v1", kind: "Secret", metadata: { name: "key", namespace: ns }, stringData: { k: "sk" } } as never);
  await adapters.ready(`${ns}/x`);
});

test("an engine that was restarted gets its adapters back", async () => {
  const a = await pod("a");
  await controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  a.engine.restart();
  await until("it is repaired", () => a.engine.adapters.has("x"));
  await until("Repaired is told", async () => (await adapters.events(`${ns}/x`)).includes("Repaired"));
});

test("an adapter that somebody else loaded is never touched", async () => {
  const a = await pod("a");
  a.engine.adapters.set("x", "/their/own");
  const running = await controller();
  await world.applyObject(lora("x"));
  expect(await adapters.refusal(`${ns}/x`, "NameConflict")).toMatch(/from \/their\/own\), which somebody else loaded/);
  // What it wrote down itself is what it decides on now.
  await adapters.decided(`${ns}/x`, running);
  await adapters.refusal(`${ns}/x`, "NameConflict");
  expect(await adapters.addresses(`${ns}/x`)).toEqual([]);
  await adapters.remove(`${ns}/x`);
  expect(a.engine.adapters.get("x")).toBe("/their/own");
  expect([a.engine.calls.filter((c) => c.startsWith("POST")), a.runtime.loads, a.runtime.unloads]).toEqual([[], [], []]);
});

test("what an engine took and does not list is not said again at each look", async () => {
  const a = await pod("a");
  await controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  a.engine.restart();
  a.engine.lists = false;
  a.engine.calls.length = 0;
  const calls = (path: string) => a.engine.calls.filter((c) => c.includes(path)).length;
  await world.remove("ModelAdapter", `${ns}/x`);
  await until("it is told, and its list asked for often", () => calls("/v1/unload_lora_adapter") > 0 && calls("/v1/models") >= 24);
  // Each call that is accepted is followed by a look of its own, besides those that come by themselves.
  expect(calls("/v1/unload_lora_adapter")).toBeLessThan(8);
  a.engine.lists = true;
  await until("it is gone", async () => (await world.get("ModelAdapter", `${ns}/x`)) === undefined);
});

test("a restarted controller knows which adapters are its own", async () => {
  const a = await pod("a");
  await controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  await world.stopControllers();
  await controller();
  await world.applyObject(lora("y"));
  await adapters.ready(`${ns}/y`);
  expect(a.engine.calls.filter((c) => c === "POST /v1/load_lora_adapter x")).toHaveLength(1);
  await adapters.remove(`${ns}/x`, `${ns}/y`);
  expect(a.engine.adapters.size).toBe(0);
});

test("a restarted controller asks nothing again that waits for an edit", async () => {
  const a = await pod("a");
  a.engine.runtimeUpdating = false;
  await controller();
  await world.applyObject(lora("x"));
  const why = await adapters.refusal(`${ns}/x`, "EngineRuntimeUpdatingDisabled");
  await world.stopControllers();
  a.engine.calls.length = 0;
  const second = await controller();
  await until("it has looked", () => a.engine.calls.filter((c) => c === "GET /v1/models").length >= 2);
  await adapters.decided(`${ns}/x`, second);
  expect(await adapters.refusal(`${ns}/x`, "EngineRuntimeUpdatingDisabled")).toBe(why);
  expect(a.engine.calls.filter((c) => c.startsWith("POST"))).toEqual([]);
  a.engine.runtimeUpdating = true;
  await world.applyObject(lora("x", { replicas: 1 }));
  await adapters.ready(`${ns}/x`);
});

test("another path is unloaded and loaded, never in place", async () => {
  const a = await pod("a");
  await controller();
  await world.applyObject(lora("x", { artifactURL: "/models/one" }));
  await adapters.ready(`${ns}/x`);
  await world.applyObject(lora("x", { artifactURL: "/models/two" }));
  await until("the second generation is served", async () => (await adapters.status(`${ns}/x`))?.observedGeneration === 2);
  expect(a.engine.adapters.get("x")).toBe("/models/two");
});

test("the only pod of an adapter swaps beside its requests where its engine has slots for both contents", async () => {
  const a = await pod("a");
  await controller();
  await world.applyObject(lora("x", { artifactURL: "/models/one" }));
  await adapters.ready(`${ns}/x`);
  a.engine.busy.add("x");
  await world.applyObject(lora("x", { artifactURL: "/models/two" }));
  await until("it is swapped", () => a.engine.adapters.get("x") === "/models/two");
  await until("the second generation is served", async () => (await adapters.status(`${ns}/x`))?.observedGeneration === 2);
});

test("the only pod of an adapter leaves the slices until its requests have ended where its engine has no slot for both contents", async () => {
  const a = await waiting();
  await until("the gateway knows why", async () => {
    const { conditions = [] } = (await adapters.status(`${ns}/x`)) ?? {};
    const ready = conditions.find((c) => c.type === "Ready");
    return ready?.reason === "ModelAdapterLoading" && /until requests of the old one have ended/.test(ready.message);
  });
  expect(a.engine.adapters.get("x")).toBe("/models/one");
  a.engine.busy.clear();
  await until("the second generation is served", async () => (await adapters.status(`${ns}/x`))?.observedGeneration === 2);
  await until("clients are sent there", async () => (await adapters.addresses(`${ns}/x`)).length === 1);
  expect(a.engine.adapters.get("x")).toBe("/models/two");
});

test("an edit that is taken back while the only pod waits for requests puts it back into the slices, and nothing is unloaded", async () => {
  const a = await waiting();
  await world.applyObject(lora("x", { artifactURL: "/models/one" }));
  await until("clients are sent there", async () => (await adapters.addresses(`${ns}/x`)).length === 1);
  await adapters.ready(`${ns}/x`);
  a.engine.busy.clear();
  // Its requests have ended: an unload that still waited for that would come now.
  const lists = () => a.engine.calls.filter((c) => c === "GET /v1/models").length;
  const then = lists();
  await until("the engine was looked at", () => lists() > then + 3);
  expect(a.engine.calls.filter((c) => c.startsWith("POST"))).toEqual(["POST /v1/load_lora_adapter x"]);
  await world.applyObject(lora("x", { artifactURL: "/models/three" }));
  await until("it is swapped", () => a.engine.adapters.get("x") === "/models/three");
  expect(a.engine.calls.filter((c) => c.startsWith("POST"))).toEqual([
    "POST /v1/load_lora_adapter x",
    "POST /v1/unload_lora_adapter x",
    "POST /v1/load_lora_adapter x",
  ]);
});

test("an engine whose list fails goes on serving for a while, and nothing is told that waits for an edit", async () => {
  const a = await pod("a");
  await controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  a.engine.calls.length = 0;
  a.engine.lists = false;
  await until("it was looked at often", () => a.engine.calls.length >= 10);
  expect(await adapters.status(`${ns}/x`)).toMatchObject({ phase: "Running", readyReplicas: 1 });
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
  a.engine.lists = true;
  await adapters.remove(`${ns}/x`);
});

test("a load that takes long is told, holds up nothing that leaves, and what it brings after a deletion is taken away", async () => {
  const a = await pod("a");
  await controller({ bounds: { deletionMs: 1_000, drainMs: 0 } });
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const open = hold(a);
  await world.applyObject(lora("y"));
  await until("it loads", () => a.engine.loading.includes("y"));
  await until("Loading is told", async () => (await adapters.status(`${ns}/y`))?.pods?.[0]?.state === "Loading");
  await adapters.remove(`${ns}/x`);
  expect(a.engine.adapters.size).toBe(0);
  await adapters.remove(`${ns}/y`);
  await until("GivenUp is told", async () => (await adapters.events(`${ns}/y`)).includes("GivenUp"));
  open();
  await until(
    "it was loaded and taken away",
    () => a.engine.calls.includes("POST /v1/unload_lora_adapter y") && a.engine.adapters.size === 0,
  );
});

test("requests may end before the engine is told, and an answer comes before an adapter is listed", async () => {
  const a = await pod("a");
  let status = 500;
  a.engine.completes = () => status;
  await controller();
  await world.applyObject(lora("x"));
  expect(await adapters.refusal(`${ns}/x`, "ProbeFailed")).toMatch(/HTTP 500: oops.*it is tried again/);
  expect([...a.engine.adapters.keys()]).toEqual(["x"]);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([]);
  status = 200;
  await adapters.ready(`${ns}/x`);
  expect(a.engine.calls.filter((c) => c.startsWith("POST"))).toEqual(["POST /v1/load_lora_adapter x"]);
  a.engine.busy.add("x");
  await world.kubectl("delete", "modeladapter", "x", "-n", ns, "--wait=false");
  await until("out of the slices", async () => (await adapters.addresses(`${ns}/x`)).length === 0);
  const asked = a.engine.calls.length;
  await until("looked at for a while", () => a.engine.calls.length > asked + 10);
  expect([...a.engine.adapters.keys()]).toEqual(["x"]);
  a.engine.busy.clear();
  await until("gone", async () => (await world.get("ModelAdapter", `${ns}/x`)) === undefined);
  expect(a.engine.adapters.size).toBe(0);
});

test("a load that an earlier controller began is not begun a second time", async () => {
  const a = await pod("a");
  await controller();
  const open = hold(a);
  await world.applyObject(lora("x"));
  await until("it loads", () => a.engine.loading.includes("x"));
  await world.stopControllers();
  a.engine.calls.length = 0;
  const second = await controller();
  await until("it was looked at often", () => a.engine.calls.length >= 5);
  await adapters.decided(`${ns}/x`, second);
  expect(a.engine.loading).toEqual(["x"]);
  open();
  await adapters.ready(`${ns}/x`);
  expect([a.engine.most, a.engine.calls.filter((c) => c.startsWith("POST"))]).toEqual([1, ["POST /v1/load_lora_adapter x"]]);
  await world.stopControllers();
  // One that never ends is not waited for for ever, nor where the engine's container was started anew.
  a.engine.restart();
  hold(a);
  const third = await controller();
  await until("it loads again", () => a.engine.loading.includes("x"));
  await third.stop();
  await controller();
  a.engine.gate = Promise.resolve();
  await world.setReady(a, true, new Date(Date.now() + 2_000));
  await adapters.ready(`${ns}/x`);
});

test("a container that was started anew is looked at by its event, not by the clock", async () => {
  const a = await pod("a");
  await world.setReady(a, true, new Date(0));
  await controller({ directPeriodMs: 600_000 });
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  a.engine.restart();
  await world.setReady(a, true, new Date());
  await until("it is repaired", () => a.engine.adapters.has("x"));
  await adapters.ready(`${ns}/x`);
  // Ready again, and nobody says that the container was another one.
  await world.setReady(a, false);
  a.engine.restart();
  await world.setReady(a, true);
  await until("it is repaired", () => a.engine.adapters.has("x"));
});

test("what a deletion left in an engine that hung is swept by the next controller; what somebody else has there by then is not", async () => {
  const [a, b, gone] = [await pod("a"), await pod("b"), await pod("gone")];
  await controller({ bounds: { deletionMs: 500, drainMs: 0 } });
  await world.applyObject(lora("x"));
  await until("all serve it", async () => (await adapters.status(`${ns}/x`))?.readyReplicas === 3);
  const open = stick(a, b, gone);
  await giveUp("x");
  expect(await leftovers()).toHaveLength(3);
  expect(await leftovers()).toContain(JSON.stringify({ pod: a.key, names: { x: { roots: ["acme/x"], port: "8000" } } }));
  await world.deletePod(gone);
  b.engine.restart();
  b.engine.adapters.set("x", "/their/own");
  open();
  expect([...a.engine.adapters.keys()]).toEqual(["x"]);
  await controller();
  await until("it is swept", () => a.engine.adapters.size === 0);
  await until("nothing more is written down", async () => (await leftovers()).length === 0);
  expect(b.engine.adapters.get("x")).toBe("/their/own");
  expect(b.engine.calls).not.toContain("POST /v1/unload_lora_adapter x");
});

test("an adapter that is made again after a deletion that an engine held up is served by what is there, or in its place", async () => {
  const a = await pod("a");
  await controller({ bounds: { deletionMs: 500, drainMs: 0 } });
  await world.applyObject(lora("same"));
  await world.applyObject(lora("other"));
  await adapters.ready(`${ns}/same`);
  await adapters.ready(`${ns}/other`);
  const open = stick(a);
  await adapters.remove(`${ns}/other`);
  await giveUp("same");
  open();
  a.engine.calls.length = 0;
  a.engine.completed.length = 0;
  await world.applyObject(lora("same"));
  await world.applyObject(lora("other", { artifactURL: "/models/other" }));
  await controller();
  await adapters.ready(`${ns}/same`);
  await until("the other's new path is served", async () => (await adapters.status(`${ns}/other`))?.observedGeneration === 1);
  expect(a.engine.calls.filter((c) => c.startsWith("POST"))).toEqual([
    "POST /v1/unload_lora_adapter other",
    "POST /v1/load_lora_adapter other",
  ]);
  expect(a.engine.completed).toContain("same");
  expect([...a.engine.adapters].sort()).toEqual([
    ["other", "/models/other"],
    ["same", "acme/same"],
  ]);
  await until("nothing is written down any more", async () => (await leftovers()).length === 0);
  await adapters.remove(`${ns}/same`, `${ns}/other`);
  expect(a.engine.adapters.size).toBe(0);
});

test("an adapter that is made again with another artifact is not Ready, nor sent to, while the engine has the one before", async () => {
  const a = await pod("a");
  await controller({ bounds: { deletionMs: 500, drainMs: 0 } });
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const open = stick(a);
  await giveUp("x");
  open();
  // It does not give the old one up, nor take the new one.
  a.engine.runtimeUpdating = false;
  a.engine.calls.length = 0;
  a.engine.completed.length = 0;
  await world.applyObject(lora("x", { artifactURL: "/models/two" }));
  const second = await controller();
  await until("it is asked to give the old one up", () => a.engine.calls.includes("POST /v1/unload_lora_adapter x"));
  await adapters.decided(`${ns}/x`, second);
  expect(await adapters.status(`${ns}/x`)).toMatchObject({ readyReplicas: 0 });
  expect(await adapters.addresses(`${ns}/x`)).toEqual([]);
  await world.stopControllers();
  a.engine.runtimeUpdating = true;
  await controller();
  expect((await adapters.ready(`${ns}/x`)).observedGeneration).toBe(1);
  expect(a.engine.adapters.get("x")).toBe("/models/two");
  // It answered before it was sent to.
  expect(a.engine.completed).toEqual(["x"]);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
});

test("a load that an engine had not answered when its adapter was given up is taken away once it comes", async () => {
  const a = await pod("a");
  await controller({ bounds: { deletionMs: 500, drainMs: 0 } });
  const open = hold(a);
  await world.applyObject(lora("x"));
  await until("it loads", () => a.engine.loading.includes("x"));
  await giveUp("x");
  a.engine.calls.length = 0;
  await controller();
  await until("the engine was looked at often", () => a.engine.calls.length >= 3);
  expect(await leftovers()).toHaveLength(1);
  open();
  await until(
    "it came and was taken away",
    () => a.engine.calls.includes("POST /v1/unload_lora_adapter x") && a.engine.adapters.size === 0,
  );
});

test("a controller whose Role is of an earlier release starts and ends deletions, and says what it lacks", async () => {
  const a = await pod("a");
  await world.kubectl("delete", "role", "aibrix-controller-manager-leader-election", "-n", "aibrix-system");
  try {
    const old = await controller({ bounds: { deletionMs: 500, drainMs: 0 } });
    await world.applyObject(lora("x"));
    await adapters.ready(`${ns}/x`);
    const open = stick(a);
    await adapters.remove(`${ns}/x`);
    open();
    await until("it is swept", () => a.engine.adapters.size === 0);
    expect(old.warnings.filter((w) => w.includes("aibrix-direct-leftovers cannot be used: apply the controller's RBAC"))).not.toEqual([]);
  } finally {
    await world.apply("deploy/rbac/controller.yaml");
  }
});
