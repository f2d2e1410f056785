import { readFile } from "node:fs/promises";
import type { KubeObject } from "@aibrix/kube";
import { beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { adapters, useWorld, world } from "./support/case.ts";
import { adapter, type FakePod, until } from "./support/world.ts";

/* A controller of this release on a cluster whose CRD is of one before adapters' ranks were told. The tests are steps of one story. */

const FILE = "deploy/crd/model.aibrix.ai_modeladapters.yaml";

interface Schema {
  readonly properties: Record<string, Schema>;
  readonly items: Schema;
}

interface Crd extends KubeObject {
  readonly spec: { readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[] };
}

let pod: FakePod;

useWorld();

beforeAll(async () => {
  pod = await world.pod("a");
  pod.runtime.rank = 8;
  await world.applyObject(adapter("probe", { podSelector: { matchLabels: { nobody: "has-this" } } }));
  await world.applyObject(await oldCrd());
  await until("the old schema is in force", async () => (await takes({ adapterRank: { value: 8, generation: 1 } })) === false);
}, 3_600_000);

async function oldCrd(): Promise<KubeObject> {
  const crd = parse(await readFile(new URL(`../../../${FILE}`, import.meta.url), "utf8")) as Crd;
  for (const { schema } of crd.spec.versions) {
    const status = schema.openAPIV3Schema.properties.status?.properties ?? {};
    const row = status.pods?.items.properties ?? {};
    expect([delete status.adapterRank, delete row.maxRank]).toEqual([true, true]);
    expect(Object.keys(row)).toContain("firstServedTime");
  }
  return crd;
}

/** Whether the API server takes a status. */
async function takes(status: object): Promise<boolean> {
  try {
    const metadata = { namespace: "default", name: "probe" };
    await world.admin.applyStatus(world.resource("ModelAdapter"), { metadata, status }, { dryRun: true }, AbortSignal.timeout(10_000));
    return true;
  } catch (error) {
    expect(String(error)).toContain("adapterRank: field not declared in schema");
    return false;
  }
}

test("statuses are written without what the CRD does not know, and it is said once what to do", async () => {
  const controller = await world.controller();
  await world.applyObject(adapter("x"));
  const status = await adapters.ready("default/x");
  expect(status).toMatchObject({ phase: "Running", observedGeneration: 1, pods: [{ name: "a", state: "Serving", taken: true }] });
  expect(status.adapterRank).toBeUndefined();
  await world.applyObject(adapter("y"));
  await adapters.ready("default/y");
  await world.applyObject(adapter("x", { artifactURL: "huggingface://acme/other" }));
  await until("the edit is told", async () => (await adapters.status("default/x"))?.observedGeneration === 2);
  const refused = controller.calls.filter((c) => c.status === 500);
  // It is tried whole again after a minute.
  expect(refused.length).toBeLessThanOrEqual(3);
  expect(controller.warnings).toEqual([expect.stringContaining(FILE)]);
});

test("once the present CRD is there, the rank is told", async () => {
  await world.stopControllers();
  await world.apply(FILE);
  await until("the schema is in force", () => takes({ adapterRank: { value: 8, generation: 1 } }));
  const controller = await world.controller();
  const status = await until("it is told", async () => {
    const now = await adapters.status("default/x");
    return now?.adapterRank === undefined ? undefined : now;
  });
  expect(status).toMatchObject({ adapterRank: { value: 8, generation: 2 }, pods: [{ name: "a", maxRank: 8 }] });
  expect(controller.warnings).toEqual([]);
});
