import type { EndpointSlice } from "@aibrix/kube";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PodFacts } from "../pods/facts.ts";
import { type Listed, MAX_ENDPOINTS, planSlices, type SliceChanges } from "./slices.ts";

const OWNER = { namespace: "default", service: "x", owner: undefined, port: 8000 };

function listed(i: number, more: Partial<PodFacts> = {}, port = 8000): Listed {
  const pod = {
    key: `default/p${i}`,
    namespace: "default",
    name: `p${i}`,
    uid: `u${i}`,
    ipv4: `10.0.${i >> 8}.${i & 255}`,
    nodeName: "n",
    ...more,
  };
  return { pod: pod as PodFacts, port };
}

function many(n: number, from = 0): Listed[] {
  return Array.from({ length: n }, (_, i) => listed(from + i));
}

/** What the API server holds after the changes. */
function after(existing: readonly EndpointSlice[], { apply, delete: gone }: SliceChanges): EndpointSlice[] {
  const all = new Map(existing.map((s) => [s.metadata.name, s]));
  for (const s of apply) all.set(s.metadata.name, s);
  for (const s of gone) all.delete(s.metadata.name);
  return [...all.values()];
}

function uids(slices: readonly EndpointSlice[]): string[] {
  return slices.flatMap((s) => (s.endpoints ?? []).map((e) => e.targetRef?.uid ?? "")).sort();
}

describe("slices", () => {
  test("nothing to list leaves one empty slice, and writes nothing twice", () => {
    const first = planSlices(OWNER, [], []);
    expect(first.apply).toMatchObject([
      { metadata: { name: "x-ipv4-8000-0" }, addressType: "IPv4", endpoints: [], ports: [{ name: "http", port: 8000 }] },
    ]);
    expect(planSlices(OWNER, [], after([], first))).toEqual({ apply: [], delete: [] });
  });

  test.each([{ pods: [listed(1)] }, { pods: [] }])("slices of an earlier owner of the name make way: $pods.length pods", ({ pods }) => {
    const by = (uid: string) => ({ apiVersion: "v1", kind: "K", name: "x", uid, controller: true, blockOwnerDeletion: true });
    const left = after([], planSlices({ ...OWNER, owner: by("old") }, [listed(1)], []));
    const owner = { ...OWNER, owner: by("new") };
    const changes = planSlices(owner, pods, left);
    expect(changes.delete).toEqual(left);
    const now = after(left, changes);
    expect(now.map((s) => [s.metadata.name, s.metadata.ownerReferences?.map((o) => o.uid)])).toEqual([["x-ipv4-8000-1", ["new"]]]);
    expect(planSlices(owner, pods, now)).toEqual({ apply: [], delete: [] });
  });

  test("pods with a content on trial have slices of their own with their share, which follow it and go with it", () => {
    const trial = (weight: number, i = 1): Listed => ({ ...listed(i), weight });
    const shown = (slices: readonly EndpointSlice[]) =>
      slices.map((s) => [s.metadata.name, s.metadata.annotations ?? {}, uids([s])]).sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
    const annotation = "adapter.model.aibrix.ai/canary-weight";
    const first = after([], planSlices(OWNER, [trial(5), listed(2), listed(3)], []));
    expect(shown(first)).toEqual([
      ["x-ipv4-8000-0", {}, ["u2", "u3"]],
      ["x-ipv4-8000-canary-0", { [annotation]: "5" }, ["u1"]],
    ]);
    expect(planSlices(OWNER, [trial(5), listed(2), listed(3)], first)).toEqual({ apply: [], delete: [] });
    const changes = planSlices(OWNER, [trial(50), listed(2), listed(3)], first);
    expect([shown(changes.apply), changes.delete]).toEqual([[["x-ipv4-8000-canary-0", { [annotation]: "50" }, ["u1"]]], []]);
    const last = after(first, planSlices(OWNER, [listed(1), listed(2), listed(3)], first));
    expect(shown(last)).toEqual([["x-ipv4-8000-0", {}, ["u1", "u2", "u3"]]]);
    // The one empty slice is nobody's on trial.
    const alone = after([], planSlices(OWNER, [trial(5)], []));
    expect(shown(after(alone, planSlices(OWNER, [], alone)))).toEqual([["x-ipv4-8000-canary-0", {}, []]]);
  });

  test("an endpoint says pod, node and conditions", () => {
    const [slice] = planSlices(OWNER, [listed(1)], []).apply;
    expect(slice?.metadata.labels).toEqual({
      "kubernetes.io/service-name": "x",
      "endpointslice.kubernetes.io/managed-by": "aibrix-controller-manager",
    });
    expect(slice?.endpoints).toEqual([
      {
        addresses: ["10.0.0.1"],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: "n",
        targetRef: { kind: "Pod", namespace: "default", name: "p1", uid: "u1" },
      },
    ]);
  });

  test("two families and two ports are four slices", () => {
    const both = { ipv6: "fd00::1" };
    const names = planSlices(OWNER, [listed(1, both), listed(2, both, 9000)], []).apply.map((s) => s.metadata.name);
    expect(names).toEqual(["x-ipv4-8000-0", "x-ipv4-9000-0", "x-ipv6-8000-0", "x-ipv6-9000-0"]);
  });

  test("250 pods are three slices; one pod less writes one of them", () => {
    const all = after([], planSlices(OWNER, many(250), []));
    expect(all.map((s) => s.endpoints?.length)).toEqual([100, 100, 50]);
    const changes = planSlices(
      OWNER,
      many(250).filter((l) => l.pod.uid !== "u150"),
      all,
    );
    expect(changes.apply.map((s) => s.metadata.name)).toEqual(["x-ipv4-8000-1"]);
    expect(changes.delete).toEqual([]);
  });

  test("a slice that empties goes; the last one stays, empty", () => {
    const all = after([], planSlices(OWNER, many(101), []));
    const less = planSlices(OWNER, many(100), all);
    expect(less.delete.map((s) => s.metadata.name)).toEqual(["x-ipv4-8000-1"]);
    const none = planSlices(OWNER, [], after(all, less));
    expect(none.apply.map((s) => s.endpoints)).toEqual([[]]);
    expect(none.delete).toEqual([]);
  });

  test("a pod that was replaced under its name is another endpoint", () => {
    const all = after([], planSlices(OWNER, [listed(1)], []));
    const changes = planSlices(OWNER, [listed(1, { uid: "new" })], all);
    expect(uids(changes.apply)).toEqual(["new"]);
  });

  test("whatever comes and goes: exactly these pods, no slice too large, nothing written without need", () => {
    const step = fc.uniqueArray(fc.integer({ min: 0, max: 400 }), { maxLength: 300 });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
        let slices: EndpointSlice[] = [];
        for (const ids of steps) {
          const changes = planSlices(
            OWNER,
            ids.map((i) => listed(i)),
            slices,
          );
          slices = after(slices, changes);
          expect(uids(slices)).toEqual(ids.map((i) => `u${i}`).sort());
          expect(slices.every((s) => (s.endpoints?.length ?? 0) <= MAX_ENDPOINTS)).toBe(true);
          expect(slices.length).toBeGreaterThan(0);
          expect(
            planSlices(
              OWNER,
              ids.map((i) => listed(i)),
              slices,
            ),
          ).toEqual({ apply: [], delete: [] });
        }
      }),
      { numRuns: 60 },
    );
  });
});
