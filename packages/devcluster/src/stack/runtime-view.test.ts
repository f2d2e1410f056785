import type { AdapterStatus, EngineStatus, Snapshot, WatchEvent } from "@aibrix/api";
import { expect, test } from "vitest";
import { applyEvent, changes, isSettled, type RuntimeView, withShownProblems } from "./runtime-view.ts";
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

test("what serves on after a failed update is told", () => {
  const older = serving("a").serving;
  const failed = adapter("a", { state: "Failed", reason: "R", message: "why", serving: older });
  expect(told([{ type: "ADAPTER", object: failed }], snapshot())).toEqual([
    "a Failed R: why (the content that served before goes on serving)",
  ]);
  const warned = adapter("a", { state: "Updating", message: "warning: w", serving: older });
  expect(told([{ type: "ADAPTER", object: warned }], snapshot())).toEqual(["a Updating warning: w"]);
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

test("two adapters of one file with the same problem are two lines", () => {
  const problem = { file: "/m/a.yaml", reason: "Invalid", message: "mend it" };
  const object = [
    { ...problem, name: "x" },
    { ...problem, name: "y" },
  ];
  expect(told([{ type: "MANIFESTS", object }], snapshot())).toEqual(["a.yaml (x) Problem mend it", "a.yaml (y) Problem mend it"]);
});

/** What the runtime of an engine says of a manifest that selects another base model. */
function notSelected(name: string, base: string, wants = "other") {
  const message = `podSelector {name: ${wants}} does not match the labels of this engine (name: ${base}): mend it`;
  return { file: "/m/a.yaml", name, reason: "NotSelected", message };
}
const of = (base: string, ...problems: Snapshot["manifest_problems"]) =>
  snapshot({ engine: { ...engine, base_models: [base] }, manifest_problems: problems });
const undecided = snapshot({ engine: { ...engine, ready: false, base_models: [] }, adapters: [adapter("x")] });

test.each<{ name: string; views: readonly RuntimeView[]; awaited: number; ignored: number }>([
  { name: "one engine, not selected", views: [of("a", notSelected("x", "a"))], awaited: 1, ignored: 1 },
  { name: "selected by one of two", views: [of("a", notSelected("x", "a")), of("b")], awaited: 0, ignored: 0 },
  { name: "by none of two of one model", views: [of("a", notSelected("x", "a")), of("a", notSelected("x", "a"))], awaited: 2, ignored: 2 },
  { name: "by none of two of two models", views: [of("a", notSelected("x", "a")), of("b", notSelected("x", "b"))], awaited: 2, ignored: 2 },
  { name: "a second engine away, its model unknown", views: [of("a", notSelected("x", "a")), undecided], awaited: 0, ignored: 1 },
  { name: "a second runtime silent", views: [of("a", notSelected("x", "a")), undefined], awaited: 0, ignored: 1 },
  {
    name: "selected by an engine that is away, its model known",
    views: [of("a", notSelected("x", "a")), { ...of("b"), engine: { ...engine, ready: false, base_models: ["b"] } }],
    awaited: 0,
    ignored: 0,
  },
  { name: "other adapters each", views: [of("a", notSelected("x", "a")), of("b", notSelected("y", "b"))], awaited: 0, ignored: 0 },
  {
    name: "two of one name in a file, each for another engine",
    views: [of("a", notSelected("x", "a", "b")), of("b", notSelected("x", "b", "a"))],
    awaited: 0,
    ignored: 0,
  },
  {
    name: "another problem, at one engine",
    views: [of("a", { file: "/m/a.yaml", name: "x", reason: "NameConflict", message: "m" }), of("b")],
    awaited: 1,
    ignored: 1,
  },
])("problems of which a user hears: $name", ({ views, awaited, ignored }) => {
  const all = new Map(views.map((view, i) => [`engine-${i + 1}`, view]));
  const count = (mode: "awaited" | "ignored") =>
    [...withShownProblems(all, mode).values()].flatMap((v) => v?.manifest_problems ?? []).length;
  expect({ awaited: count("awaited"), ignored: count("ignored") }).toEqual({ awaited, ignored });
});

test("warnings tell of a selector only where it matches no engine", () => {
  const taken = notSelected("x", "a");
  const lost = (base: string) => notSelected("lost", base, "none");
  const views = new Map<string, RuntimeView>([
    ["engine-1", of("a", taken, lost("a"))],
    ["engine-2", of("b", lost("b"))],
  ]);
  expect(warnings(views)).toEqual([
    "a.yaml (lost): podSelector {name: none} does not match the labels of this engine (name: a): mend it",
    "a.yaml (lost): podSelector {name: none} does not match the labels of this engine (name: b): mend it",
  ]);
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
