import type { ModelAdapterStatus } from "@aibrix/api";
import { expect, test } from "vitest";
import { eventsBetween } from "./events.ts";

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
