import type { ModelAdapterStatus } from "@aibrix/api";
import { expect, test } from "vitest";
import { eventsBetween, repairsOf } from "./events.ts";
import type { Observed, Plan } from "./types.ts";

const pod = (state: string, more = {}): ModelAdapterStatus => ({ instances: ["a"], pods: [{ name: "a", state, ...more } as never] });

test.each<{ name: string; before: ModelAdapterStatus | undefined; after: ModelAdapterStatus; want: string[] }>([
  { name: "a first placement", before: undefined, after: pod("Pending"), want: ["Scheduled"] },
  { name: "a pod that serves", before: pod("Loading"), after: pod("Serving"), want: ["Loaded"] },
  {
    name: "a pod that serves again",
    before: pod("Pending", { firstServedTime: "2026-01-01T00:00:00Z" }),
    after: pod("Serving"),
    want: ["Repaired"],
  },
  { name: "an update", before: pod("Updating", { firstServedTime: "2026-01-01T00:00:00Z" }), after: pod("Serving"), want: ["Loaded"] },
  { name: "an adapter that is not there any more", before: pod("Serving"), after: pod("Pending"), want: ["Drifted"] },
  { name: "one that comes back at once", before: pod("Serving"), after: pod("Loading"), want: ["Drifted"] },
  { name: "one that cannot come back", before: pod("Serving"), after: pod("Failed", { lastError: "no" }), want: ["Drifted", "LoadFailed"] },
  { name: "a move", before: pod("Serving"), after: pod("Draining"), want: [] },
  { name: "a pod that is gone", before: pod("Serving"), after: { instances: ["a"], pods: [] }, want: ["Drifted"] },
  { name: "a pod that is gone and never served", before: pod("Pending"), after: { instances: ["a"], pods: [] }, want: [] },
  { name: "an edit that is refused", before: pod("Serving"), after: pod("Updating", { lastError: "no" }), want: ["LoadFailed"] },
  { name: "the swap of an engine without sidecar", before: pod("Updating"), after: pod("Loading"), want: [] },
  { name: "a pod that goes on serving", before: pod("Serving"), after: pod("Serving"), want: [] },
  {
    name: "a new pod of the same name",
    before: pod("Serving", { uid: "1" }),
    after: pod("Serving", { uid: "2" }),
    want: ["Loaded", "Drifted"],
  },
  { name: "a failure", before: pod("Loading"), after: pod("Failed", { lastError: "no" }), want: ["LoadFailed"] },
  {
    name: "the same failure again",
    before: pod("Failed", { lastError: "no" }),
    after: pod("Failed", { lastError: "no", attempts: 2 }),
    want: [],
  },
  {
    name: "another failure",
    before: pod("Failed", { lastError: "no" }),
    after: pod("Failed", { lastError: "never" }),
    want: ["LoadFailed"],
  },
  { name: "an engine that is away", before: pod("Serving"), after: pod("Pending", { lastError: "away" }), want: ["Drifted"] },
  {
    name: "an unload",
    before: { instances: [], pods: [{ name: "a", state: "Draining" }] },
    after: { instances: [], pods: [] },
    want: ["Unloaded"],
  },
])("$name is told as $want", ({ before, after, want }) => {
  expect(eventsBetween(before, after).map((e) => e.reason)).toEqual(want);
});

test.each([
  { name: "nothing goes on", update: undefined, want: ["Repaired"] },
  { name: "an update goes on, which changes them too", update: { state: "Swapping" }, want: [] },
  { name: "an update has failed", update: { state: "Failed" }, want: ["Repaired"] },
])("slices that are written again while $name are told as $want", ({ update, want }) => {
  const status = { phase: "Running", pods: [{ name: "a", uid: "a", state: "Serving" }], ...(update === undefined ? {} : { update }) };
  const slices = [{ endpoints: [{ addresses: ["10.0.0.1"], targetRef: { uid: "a" } }] }];
  const o = { adapter: { metadata: {}, status }, service: { kind: "ours" }, slices, rollout: { update } } as unknown as Observed;
  const plan = { actions: [{ kind: "writeSlices" }] } as unknown as Plan;
  expect(repairsOf(o, plan, o).map((e) => e.reason)).toEqual(want);
});
