import type { KubeObject, Pod } from "@aibrix/kube";
import { expect, test } from "vitest";
import { nameFacts } from "./holders.ts";

const at = (seconds: number) => new Date(seconds * 1000).toISOString();

function adapter(namespace: string, seconds: number): KubeObject {
  return { metadata: { name: "x", namespace, creationTimestamp: at(seconds) } };
}

function pod(namespace: string, name: string, seconds: number, phase = "Running"): Pod {
  const metadata = { name, namespace, labels: { "model.aibrix.ai/name": "x" }, creationTimestamp: at(seconds) };
  return { metadata, spec: { containers: [] }, status: { phase } };
}

const SELF = adapter("b", 10);

test.each<{ name: string; adapters?: KubeObject[]; pods?: Pod[]; want: object }>([
  { name: "nobody else", want: { basePods: [], heldBy: undefined, basesBehind: [] } },
  { name: "an older adapter", adapters: [adapter("c", 9)], want: { heldBy: { kind: "adapter", namespace: "c", createdSec: 9 } } },
  { name: "the oldest of several", adapters: [adapter("c", 9), adapter("d", 8)], want: { heldBy: { namespace: "d" } } },
  { name: "a younger adapter", adapters: [adapter("a", 11)], want: { heldBy: undefined } },
  { name: "one of the same second and a later namespace", adapters: [adapter("c", 10)], want: { heldBy: undefined } },
  { name: "one of the same second and an earlier namespace", adapters: [adapter("a", 10)], want: { heldBy: { namespace: "a" } } },
  {
    name: "an older base model, by its oldest pod",
    pods: [pod("c", "p2", 12), pod("c", "p1", 9)],
    want: { heldBy: { kind: "base", namespace: "c", createdSec: 9 }, basePods: [], basesBehind: [] },
  },
  {
    name: "younger base models",
    pods: [pod("d", "p", 12), pod("c", "p2", 12), pod("c", "p1", 11)],
    want: { heldBy: undefined, basesBehind: ["c", "d"] },
  },
  { name: "an older base model that has ended", pods: [pod("c", "p", 9, "Failed")], want: { heldBy: undefined, basesBehind: [] } },
  { name: "its namespace's base model, though it is younger", pods: [pod("b", "p", 12)], want: { basePods: ["b/p"], heldBy: undefined } },
  {
    name: "an older adapter that a base model of its namespace keeps from it",
    adapters: [adapter("a", 9)],
    pods: [pod("a", "p", 12)],
    want: { heldBy: undefined, basesBehind: ["a"] },
  },
  {
    name: "base models behind an older adapter of elsewhere: that one tells of them",
    adapters: [adapter("a", 9)],
    pods: [pod("c", "p", 12)],
    want: { heldBy: { namespace: "a" }, basesBehind: [] },
  },
])("a name is shared with $name", ({ adapters = [], pods = [], want }) => {
  expect(nameFacts(SELF, [SELF, ...adapters], pods)).toMatchObject(want);
});
