import { type LabelSelector, matchesSelector } from "@aibrix/api";
import { type Pod, Store } from "@aibrix/kube";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ModelAdapterObject } from "../model-adapter/types.ts";
import { ADAPTER_INDEXES, isRecorded, recordedOn, selecting } from "./adapter-index.ts";

function storeOf(adapters: readonly ModelAdapterObject[]): Store<ModelAdapterObject> {
  const store = new Store<ModelAdapterObject>({ indexes: ADAPTER_INDEXES, onHandlerError: () => undefined });
  for (const a of adapters) store.set(a);
  return store;
}

function adapter(name: string, podSelector: LabelSelector, uids: readonly string[] = [], namespace = "ns"): ModelAdapterObject {
  const pods = uids.map((uid) => ({ name: uid, uid, state: "Serving" as const }));
  return { metadata: { name, namespace }, spec: { podSelector, artifactURL: "hf://a/b" }, status: { pods } } as ModelAdapterObject;
}

function pod(labels: Record<string, string>, uid = "u"): Pod {
  return { metadata: { name: "p", namespace: "ns", uid, labels }, spec: { containers: [] } };
}

const LABELS = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("", "1", "2"));
const EXPRESSION = fc.record({
  key: fc.constantFrom("a", "b", "c"),
  operator: fc.constantFrom("In" as const, "NotIn" as const, "Exists" as const, "DoesNotExist" as const),
  values: fc.subarray(["", "1", "2"]),
});
const SELECTOR: fc.Arbitrary<LabelSelector> = fc.record(
  { matchLabels: LABELS, matchExpressions: fc.array(EXPRESSION, { maxLength: 2 }) },
  { requiredKeys: [] },
);

test("property: the index finds just the adapters that a look at all of them finds", () => {
  fc.assert(
    fc.property(fc.array(SELECTOR, { maxLength: 12 }), fc.array(LABELS, { minLength: 1, maxLength: 2 }), (selectors, states) => {
      const adapters = [...selectors.map((s, i) => adapter(`x-${i}`, s)), adapter("elsewhere", {}, [], "other")];
      const pods = states.map((labels) => pod(labels));
      const found = [...selecting(storeOf(adapters), pods)].map((a) => a.metadata.name);
      const wanted = adapters.filter(
        (a) => a.metadata.namespace === "ns" && states.some((labels) => matchesSelector(a.spec.podSelector, labels)),
      );
      expect(found.sort()).toEqual(wanted.map((a) => a.metadata.name).sort());
    }),
  );
});

test("finds who has a row for a pod, by its uid", () => {
  const store = storeOf([adapter("x", {}, ["u1", "u2"]), adapter("y", {}, ["u2"])]);
  expect([...recordedOn(store, [pod({}, "u1"), pod({}, "u2")])].sort()).toEqual(["ns/x", "ns/x", "ns/y"]);
  expect([isRecorded(store, pod({}, "u2")), isRecorded(store, pod({}, "u3"))]).toEqual([true, false]);
});
