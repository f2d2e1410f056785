import { expect, test } from "vitest";
import type { ModelAdapterObject } from "../types.ts";
import { basisOf } from "./ask.ts";

function basis(additionalConfig: Record<string, string> | undefined): string {
  const adapter: ModelAdapterObject = {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name: "x", namespace: "default", uid: "u" },
    spec: { artifactURL: "s3://models/one", podSelector: {}, ...(additionalConfig === undefined ? {} : { additionalConfig }) },
  };
  return basisOf({ adapter, secrets: "" });
}

test("nothing of an API key in the spec can be guessed from what sidecars show", () => {
  expect(basis({ "api-key": "sk-1", more: "1" })).toBe(basis({ "api-key": "sk-2", more: "1" }));
});

test.each([
  { name: "another value", other: { more: "2" } },
  { name: "another word", other: { else: "1" } },
  { name: "nothing", other: undefined },
])("$name beside the key has content tried anew", ({ other }) => {
  expect(basis(other)).not.toBe(basis({ more: "1" }));
});
