import type { AdapterStatus, EngineStatus, Snapshot, WatchEvent } from "@aibrix/api";
import { expect, test } from "vitest";
import { applyEvent, changes, isSettled, type RuntimeView } from "./runtime-view.ts";
import { warnings } from "./warnings.ts";

const engine: EngineStatus = { url: "http://e", kind: "vllm", ready: true, base_models: ["base"] };
const digest = `sha256:${"ab".repeat(32)}`;

function adapter(lora_name: string, more: Partial<AdapterStatus> = {}): AdapterStatus {
  return { lora_name, artifact_url: "/a", origin: "manifest", state: "Pending", serving: null, attempts: 0, ...more };
}

const serving = (name: string) =>
  adapter(name, { state: "Serving", serving: { content_digest: digest, path: "/p", since: "2026-01-01T00:00:00Z" } });

function snapshot(more: Partial<Snapshot> = {}): Snapshot {
  return { instance_id: "i", engine, adapters: [], manifest_problems: [], ...more };
}

function told(events: readonly WatchEvent[], from: RuntimeView = undefined): string[] {
  let view = from;
  return events.flatMap((event) => {
    const next = applyEvent(view, event);
    const lines = changes(view, next).map((c) => `${c.subject} ${c.state} ${c.detail}`.trim());
    view = next;
    return lines;
  });
}

test("a first snapshot tells the engine and every adapter", () => {
  expect(told([{ type: "SNAPSHOT", object: snapshot({ adapters: [serving("a"), adapter("b")] }) }])).toEqual([
    "engine Ready base",
    "a Serving abababababab",
    "b Pending",
  ]);
});

test("a state is told once, progress of a download never", () => {
  const loading = adapter("a", { state: "Downloading", download: { bytes: 1 } });
  expect(
    told(
      [
        { type: "ADAPTER", object: loading },
        { type: "ADAPTER", object: { ...loading, download: { bytes: 2 } } },
        { type: "BOOKMARK" },
        { type: "ADAPTER", object: serving("a") },
        { type: "ADAPTER", object: adapter("a", { state: "Failed", reason: "R", message: "why: what to do" }) },
        { type: "DELETED", lora_name: "a" },
      ],
      snapshot(),
    ),
  ).toEqual(["a Downloading", "a Serving abababababab", "a Failed R: why: what to do", "a Removed"]);
});

test("a snapshot after a broken watch tells only what changed meanwhile", () => {
  const before = snapshot({ adapters: [serving("a"), serving("b")] });
  expect(
    told(
      [{ type: "SNAPSHOT", object: snapshot({ adapters: [serving("b")], engine: { ...engine, ready: false, message: "gone" } }) }],
      before,
    ),
  ).toEqual(["engine NotReady gone", "a Removed"]);
});

test("a manifest's problem is told once", () => {
  const problem = { file: "/m/a.yaml", reason: "Invalid", message: "mend it" };
  const events: WatchEvent[] = [
    { type: "MANIFESTS", object: [problem] },
    { type: "MANIFESTS", object: [problem] },
  ];
  expect(told(events, snapshot())).toEqual(["a.yaml Problem mend it"]);
});

test("nothing counts before a snapshot", () => {
  expect(applyEvent(undefined, { type: "ADAPTER", object: adapter("a") })).toBeUndefined();
});

test.each([
  { name: "nothing heard yet", view: undefined, want: false },
  { name: "no adapters", view: snapshot(), want: true },
  { name: "one served, one failed", view: snapshot({ adapters: [serving("a"), adapter("b", { state: "Failed" })] }), want: true },
  { name: "one loading", view: snapshot({ adapters: [serving("a"), adapter("b", { state: "Loading" })] }), want: false },
  { name: "the engine away", view: snapshot({ engine: { ...engine, ready: false } }), want: false },
])("settled: $name", ({ view, want }) => {
  expect(isSettled(view)).toBe(want);
});

test("warnings name what is not served, and a manifest's problem once for all engines", () => {
  const problem = { file: "/m/a.yaml", reason: "Invalid", message: "mend it" };
  const failed = adapter("bad", { state: "Failed", message: "not there: mend artifactURL" });
  const views = new Map<string, RuntimeView>([
    ["engine-1", snapshot({ adapters: [serving("a"), failed, adapter("slow", { state: "Downloading" })], manifest_problems: [problem] })],
    [
      "engine-2",
      snapshot({
        engine: { ...engine, ready: false, message: "does not answer: start it" },
        adapters: [adapter("a")],
        manifest_problems: [problem],
      }),
    ],
    ["engine-3", undefined],
  ]);
  expect(warnings(views)).toEqual([
    "bad on engine-1: Failed  not there: mend artifactURL",
    "slow on engine-1: still Downloading",
    "a.yaml: mend it",
    "engine-2: does not answer: start it",
    "engine-3: its runtime has not answered yet",
  ]);
});
