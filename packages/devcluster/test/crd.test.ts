import { readFile } from "node:fs/promises";
import { validateModelAdapter } from "@aibrix/api";
import { type ControlPlane, ensureKubernetes, startControlPlane } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { call } from "./support/api-call.ts";
import { ACCEPTED, REFUSED, type Row } from "./support/model-adapters.ts";

const CRD = new URL("../../../deploy/crd/model.aibrix.ai_modeladapters.yaml", import.meta.url);
const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ADAPTERS = "/apis/model.aibrix.ai/v1alpha1/namespaces/default/modeladapters";

let plane: ControlPlane;

beforeAll(async () => {
  const signal = AbortSignal.timeout(3_600_000);
  const binaries = await ensureKubernetes({ log: console.log, signal });
  plane = await startControlPlane({ binaries }, signal);
  const crd = parse(await readFile(CRD, "utf8"));
  const created = await call(plane.admin, "POST", `${CRDS}?fieldValidation=Strict`, crd);
  expect(created.body.message ?? "").toBe("");
  expect(created.status).toBe(201);
  await vi.waitFor(async () => expect((await call(plane.admin, "GET", ADAPTERS)).status).toBe(200), { timeout: 60_000 });
}, 3_600_000);

afterAll(async () => {
  await plane?.stop();
});

/** What the API server says to a create; undefined where it would store the object. */
async function serverRefusal({ object }: Row): Promise<string | undefined> {
  const { status, body } = await call(plane.admin, "POST", `${ADAPTERS}?dryRun=All&fieldValidation=Strict`, object);
  return status === 201 ? undefined : `${status} ${body.message}`;
}

function ourRefusal({ object }: Row): string | undefined {
  return validateModelAdapter(object)
    .problems?.map((p) => `${p.field}: ${p.message}`)
    .join("\n");
}

test("the CRD is sound to the API server", async () => {
  const { body } = await call(plane.admin, "GET", `${CRDS}/modeladapters.model.aibrix.ai`);
  const { conditions } = body.status as { conditions: { type: string; status: string; message: string }[] };
  expect(conditions.filter((c) => c.type === "NonStructuralSchema")).toEqual([]);
  expect(conditions.find((c) => c.type === "NamesAccepted")?.status).toBe("True");
});

test.each(ACCEPTED)("accepts $name, as our own check does", async (row) => {
  expect(await serverRefusal(row)).toBeUndefined();
  expect(ourRefusal(row)).toBeUndefined();
});

test.each(REFUSED)("refuses $name in words that help, as our own check does", async (row) => {
  expect(await serverRefusal(row)).toMatch(row.refusedByServer ?? row.refused ?? /never/);
  expect(ourRefusal(row)).toMatch(row.refused ?? /never/);
});

test("fills in the defaults that our own check fills in", async () => {
  const [row] = ACCEPTED;
  if (row === undefined) throw new Error("the table is empty");
  const { body } = await call(plane.admin, "POST", `${ADAPTERS}?dryRun=All&fieldValidation=Strict`, row.object);
  const ours = validateModelAdapter(row.object);
  expect(body.spec).toEqual("adapter" in ours ? ours.adapter.spec : ours.problems);
});
