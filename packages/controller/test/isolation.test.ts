import { afterEach, beforeEach, expect, test } from "vitest";
import { ApiProxy, type Passing } from "./support/api-proxy.ts";
import { adapters, lora, ns, pod, useNamespaces, world } from "./support/case.ts";
import { until } from "./support/world.ts";

/*
 * One thing that fails stops nothing else: Secrets that the API server does not give, writes that it refuses.
 */

let proxy: ApiProxy;

useNamespaces("isolation");

beforeEach(async () => {
  proxy = await ApiProxy.start(world.plane);
});

afterEach(async () => {
  await world.stopControllers();
  await proxy[Symbol.asyncDispose]();
});

/** Lets the API server be ill in some calls. */
function refuse(matches: (call: Passing) => boolean): { readonly count: () => number } {
  let refused = 0;
  proxy.judge = (call) => {
    if (!matches(call)) return undefined;
    refused++;
    return { code: 503, reason: "ServiceUnavailable", message: "etcdserver: request timed out" };
  };
  return { count: () => refused };
}

test("Secrets that the API server does not give: told, nothing else stops, no hot loop, and it loads once they come", async () => {
  const [a, b] = [await pod("a", { labels: { tier: "gold" } }), await pod("b")];
  const secrets = refuse(({ path }) => path.includes("/secrets/"));
  await world.applyObject({ apiVersion: "v1", kind: "Secret", metadata: { name: "key", namespace: ns }, stringData: { k: "sk" } } as never);
  await world.controller(undefined, { secretMaxAgeMs: 0 }, proxy);
  const withKey = { apiKeySecretRef: { name: "key", key: "k" } };
  await world.applyObject(lora("x", withKey));
  const why = await adapters.refusal(`${ns}/x`, "SecretUnavailable");
  expect(why).toMatch(/does not give the Secret key of apiKeySecretRef .*503 ServiceUnavailable.*asked again/);
  expect(secrets.count()).toBeLessThan(10);
  await world.applyObject(lora("other"));
  await adapters.ready(`${ns}/other`);
  await adapters.remove(`${ns}/x`);
  proxy.judge = () => undefined;
  await world.applyObject(lora("y", { ...withKey, podSelector: { matchLabels: { tier: "gold" } } }));
  await adapters.ready(`${ns}/y`);
  // Ill again, and a controller that never read it: what no longer serves leaves the slices, and it can be deleted.
  refuse(({ path }) => path.includes("/secrets/"));
  await world.stopControllers();
  await world.controller(undefined, { secretMaxAgeMs: 0 }, proxy);
  a.runtime.setEngine(false);
  await adapters.condition(`${ns}/y`, "Ready", "False");
  await until("out of the slices", async () => (await adapters.addresses(`${ns}/y`)).length === 0);
  await adapters.remove(`${ns}/y`);
  expect([a.runtime.loads, b.runtime.loads].map((l) => l.map((x) => x.lora_name).sort())).toEqual([["other", "y"], ["other"]]);
  expect(a.runtime.unloads).toEqual(["y"]);
});

test("a Service that cannot be written keeps no pod that left from being unloaded", async () => {
  const [a, b] = [await pod("a", { labels: { tier: "gold" } }), await pod("b", { labels: { tier: "gold" } })];
  await world.controller(undefined, {}, proxy);
  await world.applyObject(lora("x", { podSelector: { matchLabels: { tier: "gold" } } }));
  await until("both serve", async () => (await adapters.addresses(`${ns}/x`)).length === 2);
  refuse(({ method, path }) => method !== "GET" && path.includes("/services"));
  await world.remove("Service", `${ns}/x`);
  await world.kubectl("label", "pod", "b", "-n", ns, "tier-");
  await until("unloaded", () => b.runtime.serving.length === 0);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
  expect(await world.get("Service", `${ns}/x`)).toBeUndefined();
  expect(a.runtime.serving).toEqual(["x"]);
  proxy.judge = () => undefined;
  await until("the Service is back", () => world.get("Service", `${ns}/x`));
});

test("a deletion ends in its time though nothing can be taken away, which is told, and the engine gives the adapter up", async () => {
  const a = await pod("a");
  await world.controller(undefined, { bounds: { deletionMs: 4_000 } }, proxy);
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const writes = refuse(({ method, path }) => method === "DELETE" && /\/(services|endpointslices)/.test(path));
  await world.remove("ModelAdapter", `${ns}/x`);
  await until("writes were refused", () => writes.count() > 2);
  // Clients are still sent there.
  expect([await adapters.addresses(`${ns}/x`), a.runtime.serving]).toEqual([[a.ip], ["x"]]);
  await until("it is gone", async () => (await world.get("ModelAdapter", `${ns}/x`)) === undefined);
  await until("unloaded", () => a.runtime.serving.length === 0);
  await until("GivenUp is told", async () => (await adapters.events(`${ns}/x`)).includes("GivenUp"));
  expect(writes.count()).toBeLessThan(60);
});

test("a pod that does not answer holds a deletion up for its bound and no longer, and gives the adapter up when it answers", async () => {
  const a = await pod("a");
  await world.controller(undefined, { bounds: { deletionMs: 3_000 } }, proxy);
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  a.runtime.hangs = true;
  await adapters.remove(`${ns}/x`);
  expect(a.runtime.serving).toEqual(["x"]);
  await until("GivenUp is told", async () => (await adapters.events(`${ns}/x`)).includes("GivenUp"));
  a.runtime.hangs = false;
  await until("unloaded", () => a.runtime.serving.length === 0);
});

test("a Service of an earlier adapter of the name, which nobody collected yet, is replaced", async () => {
  const a = await pod("a");
  await world.controller(undefined, {}, proxy);
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  await world.stopControllers();
  const before = await world.get("Service", `${ns}/x`);
  // This control plane has no garbage collector.
  await world.kubectl("patch", "modeladapter", "x", "-n", ns, "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
  await world.remove("ModelAdapter", `${ns}/x`);
  await world.applyObject(lora("x"));
  await world.controller(undefined, {}, proxy);
  await adapters.ready(`${ns}/x`);
  const [now, owner] = [await world.get("Service", `${ns}/x`), await world.get("ModelAdapter", `${ns}/x`)];
  expect(now?.metadata.uid).not.toBe(before?.metadata.uid);
  expect(now?.metadata.ownerReferences?.map((o) => o.uid)).toEqual([owner?.metadata.uid]);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
});
