import { beforeEach, expect, test } from "vitest";
import { adapters, ns, useNamespaces, world } from "./support/case.ts";
import { adapter, BASE, type FakePod, until } from "./support/world.ts";

let older = "";
let younger = "";

useNamespaces("names");

beforeEach(async () => {
  [older, younger] = [`${ns}-z`, `${ns}-a`];
  for (const each of [older, younger]) await world.namespace(each);
});

async function pod(namespace: string, name: string, base: string = BASE): Promise<FakePod> {
  return await world.pod(name, { namespace, labels: { "model.aibrix.ai/name": base } });
}

/** Ages are told in whole seconds, and of the same one the namespace decides. */
async function nextSecond(): Promise<void> {
  const second = Math.floor(Date.now() / 1000);
  await until("the second is over", () => Math.floor(Date.now() / 1000) > second);
}

async function nameHeld(key: string): Promise<string | undefined> {
  return (await adapters.status(key))?.conditions?.find((c) => c.type === "NameHeld")?.message;
}

test("the younger adapter of a name says who has it and serves in its namespace; when the older goes it has the name", async () => {
  await pod(older, "p");
  const p = await pod(younger, "p");
  await world.controller();
  await world.applyObject(adapter("x", {}, { namespace: older }));
  await adapters.ready(`${older}/x`);
  await nextSecond();
  await world.applyObject(adapter("x", {}, { namespace: younger }));
  const s = await adapters.ready(`${younger}/x`);
  expect(s.conditions?.find((c) => c.type === "NameHeld")).toMatchObject({ status: "False", reason: "NameHeldElsewhere" });
  expect(await nameHeld(`${younger}/x`)).toBe(
    `the name x alone means the ModelAdapter ${older}/x, which is older: to reach this adapter, send the header model-namespace: ${younger}`,
  );
  expect(await adapters.addresses(`${younger}/x`)).toEqual([p.ip]);
  const told = async (key: string) => (await adapters.events(key)).filter((r) => r === "NameHeldElsewhere");
  await until("an event tells of it", async () => (await told(`${younger}/x`)).length === 1);
  expect(await nameHeld(`${older}/x`)).toBeUndefined();
  await adapters.remove(`${older}/x`);
  await until("the younger has the name", async () => (await nameHeld(`${younger}/x`)) === undefined, 5_000);
  expect((await adapters.ready(`${younger}/x`)).readyReplicas).toBe(1);
  expect(await told(`${younger}/x`)).toHaveLength(1);
});

test("a base model of another namespace: an older one has the name; of a younger one the adapter tells in an event", async () => {
  const p = await pod(older, "p", "x");
  await nextSecond();
  await pod(younger, "p");
  await world.controller();
  await world.applyObject(adapter("x", {}, { namespace: younger }));
  await adapters.ready(`${younger}/x`);
  expect(await nameHeld(`${younger}/x`)).toContain(`the base model of that name in the namespace ${older}, which is older`);
  await world.deletePod(p);
  await until("the adapter has the name", async () => (await nameHeld(`${younger}/x`)) === undefined, 5_000);
  await nextSecond();
  const later = await pod(older, "later", "x");
  const notes = async () => await world.kubectl("get", "events", "-n", younger, "-o", "jsonpath={.items[*].message}");
  await until("an event tells of the younger", async () =>
    (await notes()).includes(`older than the base model of that name in the namespace ${older}`),
  );
  expect(await nameHeld(`${younger}/x`)).toBeUndefined();
  await world.deletePod(later);
});

test("an adapter named as a base model of its namespace is refused, and served once the pods are gone; what served is taken away", async () => {
  const p = await pod(older, "p");
  const base = await pod(older, "base", "x");
  await world.controller();
  await world.applyObject(adapter("x", {}, { namespace: older }));
  const why = `x is the name of a base model of this namespace (label model.aibrix.ai/name of ${older}/base): give the adapter another name`;
  expect(await adapters.refusal(`${older}/x`, "NameIsBaseModel")).toBe(why);
  expect(await adapters.status(`${older}/x`)).toMatchObject({ phase: "Failed", instances: [] });
  expect(await world.get("Service", `${older}/x`)).toBeUndefined();
  expect([await adapters.slices(`${older}/x`), p.runtime.loads]).toEqual([[], []]);
  await world.deletePod(base);
  await adapters.ready(`${older}/x`);
  expect(await adapters.addresses(`${older}/x`)).toEqual([p.ip]);
  const again = await pod(older, "again", "x");
  await adapters.refusal(`${older}/x`, "NameIsBaseModel");
  await until("it is taken away", async () => (await world.get("Service", `${older}/x`)) === undefined && p.runtime.serving.length === 0);
  expect(await adapters.slices(`${older}/x`)).toEqual([]);
  await world.deletePod(again);
});
