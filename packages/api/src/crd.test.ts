import { expect, test } from "vitest";
import { modelAdapterCrd } from "./crd.ts";

test("is a structural schema: a type everywhere, no unions, no const", () => {
  const bad: string[] = [];
  const walk = (node: unknown, path: string, isSchema: boolean): void => {
    if (Array.isArray(node)) {
      for (const [i, n] of node.entries()) walk(n, `${path}[${i}]`, false);
      return;
    }
    if (node === null || typeof node !== "object") return;
    const o = node as Record<string, unknown>;
    if (isSchema && typeof o.type !== "string") bad.push(`${path}: no type`);
    for (const key of ["anyOf", "oneOf", "const", "$ref"]) if (isSchema && key in o) bad.push(`${path}: ${key}`);
    if (o.additionalProperties === false) bad.push(`${path}: additionalProperties false`);
    for (const [name, inner] of Object.entries((o.properties as object) ?? {})) walk(inner, `${path}.${name}`, true);
    if (o.items !== undefined) walk(o.items, `${path}[]`, true);
    if (typeof o.additionalProperties === "object") walk(o.additionalProperties, `${path}{}`, true);
  };
  const spec = modelAdapterCrd().spec as { versions: { schema: { openAPIV3Schema: unknown } }[] };
  walk(spec.versions[0]?.schema.openAPIV3Schema, "", true);
  expect(bad).toEqual([]);
});

test("has the columns, short name and category that users see", () => {
  const { names, versions } = modelAdapterCrd().spec as {
    names: Record<string, unknown>;
    versions: { additionalPrinterColumns: { name: string; priority?: number }[] }[];
  };
  expect(names).toMatchObject({ shortNames: ["ma"], categories: ["aibrix"] });
  expect(versions[0]?.additionalPrinterColumns.map((c) => c.name + (c.priority === 1 ? " (wide)" : ""))).toEqual([
    "Phase",
    "Desired",
    "Ready",
    "Candidates",
    "Base Model",
    "Reason",
    "Update",
    "Artifact (wide)",
    "Age",
  ]);
});
