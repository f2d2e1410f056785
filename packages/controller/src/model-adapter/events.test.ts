import type { ModelAdapterStatus } from "@aibrix/api";
import { expect, test } from "vitest";
import { eventsBetween } from "./events.ts";

const pod = (state: string, more = {}): ModelAdapterStatus => ({ instances: ["a"], pods: [{ name: "a", state, ...more } as never] });

test.each<{ name: string; before: ModelAdapterStatus | undefined; after: ModelAdapterStatus; served?: boolean; want: string[] }>([
  { name: "a first placement", before: undefined, after: pod("Pending"), want: ["Scheduled"] },
  { name: "a pod that serves", before: pod("Loading"), after: pod("Serving"), want: ["Loaded"] },
  { name: "a pod that serves again", before: pod("Pending"), after: pod("Serving"), served: true, want: ["Repaired"] },
  { name: "a pod that goes on serving", before: pod("Serving"), after: pod("Serving"), want: [] },
  { name: "a new pod of the same name", before: pod("Serving", { uid: "1" }), after: pod("Serving", { uid: "2" }), want: ["Loaded"] },
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
  { name: "an engine that is away", before: pod("Serving"), after: pod("Pending", { lastError: "away" }), want: [] },
  {
    name: "an unload",
    before: { instances: [], pods: [{ name: "a", state: "Draining" }] },
    after: { instances: [], pods: [] },
    want: ["Unloaded"],
  },
])("$name is told as $want", ({ before, after, served = false, want }) => {
  expect(eventsBetween(before, after, () => served).map((e) => e.reason)).toEqual(want);
});
