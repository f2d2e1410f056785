import { ANNOTATION_REFRESH, type ModelAdapterStatus, type Reason } from "@aibrix/api";
import { describe, expect, test } from "vitest";
import { type AdapterView, NOTHING_KNOWN, type PodView } from "../../engines/agent.ts";
import type { Health } from "../canary.ts";
import type { Rollout } from "../contents.ts";
import type { ModelAdapterObject, Observed } from "../types.ts";
import { contentStatus, endsNow, updatedCondition, updateEvents } from "../update-status.ts";
import { askOf, basisOf } from "./ask.ts";
import type { RolloutInput, RolloutPod } from "./input.ts";
import { rollout } from "./rollout.ts";
import { secretsName } from "./secrets.ts";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const [D1, D2, D3] = ["sha256:1", "sha256:2", "sha256:3"];
const [ONE, TWO, THREE] = ["s3://models/one", "s3://models/two", "s3://models/three"];

const ENTRY: AdapterView = {
  name: "x",
  state: "Serving",
  serving: true,
  base: false,
  own: true,
  artifactUrl: ONE,
  root: "/store/one",
  contentDigest: D1,
  declaredDigest: D1,
  attempts: 0,
  reason: undefined,
  message: undefined,
  retryable: true,
  nextRetryTime: undefined,
  timings: { downloadMs: undefined, loadMs: 20 },
};

/** Has the first content, in the slices, unless said otherwise. */
function pod(
  name: string,
  entry: Partial<AdapterView> | undefined = {},
  more: Partial<RolloutPod> & { seen?: Partial<PodView> } = {},
): RolloutPod {
  const { seen, ...rest } = more;
  const adapters = new Map(entry === undefined ? [] : [["x", { ...ENTRY, ...entry }]]);
  const isDirect = more.via === "direct";
  return {
    uid: name,
    name,
    takesPart: true,
    ends: false,
    ready: true,
    hasServed: true,
    listed: true,
    onTrial: false,
    hasAddress: true,
    via: "sidecar",
    view: { ...NOTHING_KNOWN, knowledge: "fresh", engineReady: true, adapters, ...seen },
    call: { running: undefined, done: undefined, accepted: {}, failure: undefined },
    engineRestarts: 0,
    doubtful: false,
    delivery: ({ url }) =>
      isDirect ? { kind: "asIs", path: String(url), checked: false } : { kind: "volume", runtimeDir: "/sidecar", engineDir: "/engine" },
    isOf: () => true,
    takesKey: () => false,
    hasSecrets: () => true,
    ...rest,
  };
}

/** Not known yet. */
const awaited = (name: string, more: Partial<RolloutPod> = {}) => {
  const { view, ...p } = pod(name, undefined, more);
  return { ...p, view: { ...view, knowledge: "awaited" as const, engineReady: false, adapters: new Map() } };
};

const second = { artifactUrl: TWO, contentDigest: D2, declaredDigest: D2 };
/** Waits for requests of the first content. */
const waits = { artifactUrl: TWO, declaredDigest: D2, state: "Updating" } as const;
const between = { artifactUrl: TWO, declaredDigest: D2, contentDigest: undefined, state: "Loading", serving: false } as const;
/** What the first asking for it is named. */
const asking = (adapter: ModelAdapterObject, startMs = NOW) =>
  askOf({ adapter }, basisOf({ adapter, secrets: "" }), startMs, { refresh: undefined });
const BASIS = basisOf({ adapter: declared(TWO, served(ONE, D1)), secrets: "" });
const ASKED = asking(declared(TWO, served(ONE, D1)));
const prepared = {
  artifactUrl: TWO,
  refresh: ASKED,
  state: "Ready",
  contentDigest: D2,
  revision: undefined,
  attempts: 0,
  reason: undefined,
  message: undefined,
  retryable: true,
  nextRetryTime: undefined,
} as const;

interface Declared {
  readonly generation?: number;
  readonly refresh?: string;
  readonly refreshInterval?: string;
}

function declared(
  artifactURL: string,
  status: ModelAdapterStatus,
  { generation = 2, refresh, refreshInterval }: Declared = {},
): ModelAdapterObject {
  return {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: {
      name: "x",
      namespace: "default",
      uid: "u",
      generation,
      ...(refresh === undefined ? {} : { annotations: { [ANNOTATION_REFRESH]: refresh } }),
    },
    spec: { artifactURL, podSelector: {}, ...(refreshInterval === undefined ? {} : { refreshInterval }) },
    status,
  };
}

function served(artifactURL: string, digest: string | undefined, refresh?: string, resolvedMs = NOW - 600_000): ModelAdapterStatus {
  return {
    observedGeneration: 1,
    ...(digest === undefined ? {} : { contentDigest: digest }),
    served: { artifactURL, resolvedTime: new Date(resolvedMs).toISOString(), ...(refresh === undefined ? {} : { refresh }) },
  };
}

const SWAPPING = {
  artifactURL: TWO,
  fingerprint: BASIS,
  state: "Swapping",
  contentDigest: D2,
  startTime: new Date(NOW).toISOString(),
} as const;

const condition = (status: "True" | "False" | "Unknown") => ({
  type: "Updated",
  status,
  reason: "R",
  message: "m",
  lastTransitionTime: "2026-01-01T00:00:00Z",
});

const run = (adapter: ModelAdapterObject, pods: readonly RolloutPod[], nowMs = NOW) =>
  rollout({ name: "x", adapter, pods, secrets: "", secretTrouble: undefined, nowMs });
const observed = (r: Rollout) => ({ rollout: r, unwritten: undefined, nowMs: NOW }) as Observed;
const updatedAs = (adapter: ModelAdapterObject, r: Rollout) => updatedCondition(observed(r), adapter)?.status;
/** To whom clients are sent. */
const asked = (r: Rollout) => [...r.pods].flatMap(([name, { decided, unrouted }]) => (decided && !unrouted ? [name] : []));
const told = (r: Rollout) => [...r.pods].map(([, { content }]) => content.url);

test("a refresh that is asked for while no engine runs waits for one, and is not taken for done", () => {
  const adapter = declared(ONE, served(ONE, D1), { refresh: "1" });
  const down = run(adapter, [pod("a", { state: "Pending", serving: false, contentDigest: undefined }, { seen: { engineReady: false } })]);
  expect(down.update?.state).toBe("Preparing");
  const status = { ...adapter.status, ...contentStatus(observed(down), adapter, undefined) };
  const up = run({ ...adapter, status }, [pod("a")]);
  expect(up.update?.state).toBe("Preparing");
  expect(up.pods.get("a")?.prepare).toMatchObject({ url: ONE, refresh: "1" });
});

test("what was being swapped for a refresh is known by its digest only, also to a controller that was started anew", () => {
  const update = { ...SWAPPING, artifactURL: ONE, refresh: "1" };
  const { contentDigest: _, ...undecided } = update;
  expect(run(declared(ONE, { ...served(ONE, D1), update: undecided }, { refresh: "1" }), [pod("a")]).served?.refresh).toBeUndefined();
  const through = run(declared(ONE, { ...served(ONE, D1), update }, { refresh: "1" }), [
    pod("a", { contentDigest: D2, declaredDigest: D2 }),
  ]);
  expect(through.served).toMatchObject({ refresh: "1", digest: D2 });
});

test("an edit after a look by the clock is told from its begin", () => {
  const status = { ...served(ONE, D1, "@2026-01-01T00:00:00.000Z"), conditions: [condition("True")] };
  const adapter = declared(TWO, status, { refreshInterval: "6h" });
  expect(updatedAs(adapter, run(adapter, [pod("a")]))).toBe("Unknown");
});

test("a look by the clock is told of once it leads to something else", () => {
  const status = { ...served(ONE, D1), conditions: [condition("True")] };
  const adapter = declared(ONE, status, { refreshInterval: "5m" });
  const looks = run(adapter, [pod("a")]);
  expect([looks.update?.state, looks.update?.byClock, updatedAs(adapter, looks)]).toEqual(["Preparing", true, "True"]);
});

test("an interval that passes during an update does not begin it anew", () => {
  const adapter = declared(TWO, { ...served(ONE, D1, undefined, NOW - 1_000), update: SWAPPING }, { refreshInterval: "5m" });
  const pods = [pod("a", second), pod("b")];
  for (const nowMs of [NOW, NOW + 300_000]) expect(run(adapter, pods, nowMs).update?.state).toBe("Swapping");
  // Nor one that another look began.
  const refresh = "@2026-01-01T11:55:00.000Z";
  const looks = declared(ONE, { ...served(ONE, D1), update: { ...SWAPPING, artifactURL: ONE, refresh } }, { refreshInterval: "5m" });
  const half = [pod("a", { contentDigest: D2, declaredDigest: D2 }), pod("b")];
  expect(run(looks, half, NOW + 300_000).update).toMatchObject({ state: "Swapping", content: { refresh, digest: D2 } });
});

test("an annotation that is taken away asks for nothing, and ends nothing that goes on", () => {
  expect(run(declared(ONE, served(ONE, D1, "1")), [pod("a")]).update).toBeUndefined();
  const update = { ...SWAPPING, artifactURL: ONE, refresh: "2" };
  expect(run(declared(ONE, { ...served(ONE, D1, "1"), update }), [pod("a")]).update?.content).toMatchObject({ refresh: "2", digest: D2 });
});

test("of a status of before, what a sidecar serves that was told already what is declared now is not taken for that", () => {
  const r = run(declared(TWO, { observedGeneration: 1 }), [pod("a", { ...waits, declaredDigest: undefined })]);
  expect(r.served).toBeUndefined();
});

test("a status that keeps nothing of updates lets them end all the same", () => {
  const adapter = declared(TWO, { observedGeneration: 1 });
  // Each turn begins it, and asks for the same.
  const ready = { prepared: { ...prepared, refresh: asking(adapter) } };
  for (const nowMs of [NOW, NOW + 1_000]) expect(told(run(adapter, [pod("a", ready), pod("b", ready)], nowMs))).toEqual([TWO, ONE]);
  const r = run(adapter, [pod("a", waits, { listed: false }), pod("b", ready)]);
  expect(told(r)).toEqual([TWO, ONE]);
  expect(asked(r)).toEqual(["b"]);
});

test.each([
  { how: "from a path", direct: false },
  { how: "without sidecar", direct: true },
])("pods that come back with older content after an update $how are not asked", ({ direct }) => {
  const more = direct ? ({ via: "direct" } as const) : {};
  const at = (path: string) =>
    direct
      ? { artifactUrl: undefined, root: path, contentDigest: undefined, declaredDigest: undefined }
      : { artifactUrl: path, contentDigest: path, declaredDigest: path };
  const adapter = declared("/new", served("/new", undefined));
  const late = { ...more, listed: false };
  const r = run(adapter, [pod("a", at("/new"), more), pod("b", at("/old"), late), pod("c", at("/old"), late)]);
  expect(asked(r)).toEqual(["a"]);
  // Also not while the next update goes on.
  const update = { ...SWAPPING, artifactURL: "/newer" };
  const next = declared("/newer", { ...served("/new", undefined), update });
  expect(asked(run(next, [pod("a", at("/new"), more), pod("b", at("/new"), more), pod("c", at("/old"), late)]))).toEqual(["a", "b"]);
});

test("after Updated is True no older content is asked for, though it is in the slices", () => {
  const status = { ...served(TWO, D2), conditions: [condition("True")] };
  const pods = [pod("a", second), pod("b"), pod("c")];
  expect(asked(run(declared(TWO, status), pods))).toEqual(["a"]);
  // Rather that than nothing.
  expect(asked(run(declared(TWO, status), pods.slice(1)))).toEqual(["c"]);
});

test("taken back midway, pods go back one by one, and Updated is True once all have", () => {
  const status = { ...served(ONE, D1), update: SWAPPING, conditions: [condition("Unknown")] };
  const back = declared(ONE, status, { generation: 3 });
  const half = run(back, [pod("a", second), pod("b", second), pod("c")]);
  expect([asked(half), updatedAs(back, half)]).toEqual([["b", "c"], "Unknown"]);
  const done = run(back, [pod("a"), pod("b"), pod("c")]);
  expect([asked(done), updatedAs(back, done)]).toEqual([["a", "b", "c"], "True"]);
});

test("taken back while the one pod is between contents, the other one goes on until that is back", () => {
  const back = declared(ONE, { ...served(ONE, D1), update: SWAPPING }, { generation: 3 });
  const r = run(back, [pod("a", second), pod("b", between, { listed: false })]);
  expect([asked(r), told(r)]).toEqual([["a"], [TWO, ONE]]);
});

test("edited midway to a third content, pods with the second one keep their places until their turn", () => {
  const status = { ...served(ONE, D1), update: SWAPPING, conditions: [condition("Unknown")] };
  const r = run(declared(THREE, status, { generation: 3 }), [pod("a", second), pod("b", second), pod("c")]);
  expect([asked(r), told(r)]).toEqual([
    ["b", "c"],
    [ONE, TWO, ONE],
  ]);
});

test("a pod that never served, and cannot, holds up neither swaps nor the end of an update", () => {
  const full = { artifactUrl: TWO, state: "Failed", serving: false, contentDigest: undefined, declaredDigest: undefined } as const;
  const never = pod("d", { ...full, reason: "StorageFull", message: "full" }, { hasServed: false, listed: false });
  const adapter = declared(TWO, { ...served(ONE, D1), update: SWAPPING });
  const r = run(adapter, [pod("a"), pod("b"), never]);
  expect(told(r)).toEqual([TWO, ONE, TWO]);
  expect(r.update?.message).toContain("pod d: full");
  expect(run(adapter, [pod("a", second), pod("b", second), never]).served?.url).toBe(TWO);
});

test("a pod without address is waited for by nobody, and one that has not answered is named", () => {
  const adapter = declared(TWO, served(ONE, D1));
  const ready = pod("a", { prepared });
  const nowhere = awaited("b", { ready: false, hasServed: false, listed: false, hasAddress: false });
  expect(run(adapter, [ready, nowhere]).update?.state).toBe("Swapping");
  const { update } = run(adapter, [ready, awaited("b")]);
  expect(update).toMatchObject({ state: "Preparing", message: expect.stringContaining("pod b has not answered yet") });
});

test("a controller that was started anew leaves pods in the slices, and out of them, until they answer", () => {
  const adapter = declared(TWO, { ...served(ONE, D1), update: SWAPPING });
  expect(asked(run(adapter, [awaited("a", { listed: false }), awaited("b")]))).toEqual(["b"]);
  // The one that answers first goes on with its swap.
  const r = run(adapter, [pod("a", waits, { listed: false }), awaited("b")]);
  expect([asked(r), told(r)]).toEqual([["b"], [TWO, TWO]]);
});

test("what a sidecar has lost with its memory is told again, and fails no update before", () => {
  const adapter = declared(TWO, { ...served(ONE, D1), update: SWAPPING });
  const lost = { ...waits, state: "Failed", reason: "EngineUnauthorized", message: "the key was lost", retryable: false } as const;
  expect(run(adapter, [pod("a", lost, { hasSecrets: () => false }), pod("b")]).update?.state).toBe("Swapping");
  expect(run(adapter, [pod("a", lost), pod("b")]).update).toMatchObject({ state: "Failed", reason: "EngineUnauthorized" });
});

test("of pods with different contents of a reference that moved, most decide, and the others follow one by one", () => {
  const other = { contentDigest: D3, declaredDigest: D3 };
  const r = run(declared(ONE, { observedGeneration: 2 }), [pod("a", other), pod("b", other), ...["c", "d", "e"].map((name) => pod(name))]);
  expect([r.served?.digest, asked(r)]).toEqual([D1, ["b", "c", "d", "e"]]);
});

test("no digest of what was served before is told of content without one", () => {
  const adapter = declared("huggingface://o/r", served("/old", D1));
  const now = { url: "huggingface://o/r", refresh: undefined, digest: undefined, revision: undefined, resolvedMs: NOW };
  const r: Rollout = {
    served: now,
    update: undefined,
    pods: new Map(),
    againAtMs: undefined,
    isEverywhere: true,
    isAnywhere: true,
    handled: { promote: undefined, abort: undefined },
    trials: undefined,
  };
  expect(contentStatus(observed(r), adapter, undefined).contentDigest).toBeUndefined();
});

test.each([
  {
    why: "read in place",
    p: pod("a", { artifactUrl: "/one" }, { delivery: () => ({ kind: "asIs", path: "/one", checked: true }) }),
    url: "/one",
  },
  { why: "of an earlier release", p: pod("a", {}, { seen: { prepares: false } }), url: ONE },
  { why: "its engine reads", p: pod("a", { root: "acme/x" }, { via: "direct" }), url: "huggingface://acme/x" },
])("a refresh that a pod cannot do says why: $why", ({ why, p, url }) => {
  const { update } = run(declared(url, served(url, undefined), { refresh: "1" }), [p]);
  expect(update).toMatchObject({ state: "Failed", reason: "RefreshUnsupported", message: expect.stringContaining(why) });
});

const CANARY = { rollout: { strategy: "Canary", canary: { steps: [{ weight: 5, duration: "1m" }, { weight: 50 }] } } } as const;

/** An update to the second content on its way by steps; `more` of its status. */
function onTrial(more: object = {}, spec: object = CANARY, annotations: Record<string, string> = {}): ModelAdapterObject {
  const { metadata, spec: own, status, ...adapter } = declared(TWO, { ...served(ONE, D1), update: { ...SWAPPING, ...more } });
  return { ...adapter, metadata: { ...metadata, annotations }, spec: { ...own, ...spec }, ...(status === undefined ? {} : { status }) };
}
const STEP_ONE = { step: 1, weight: 5, stepTime: new Date(NOW).toISOString() } as const;
const tried = (name: string, more: Partial<RolloutPod> = {}) => pod(name, second, { onTrial: true, ...more });
const weights = (r: Rollout) => [...r.pods].map(([, { weight }]) => weight);

test("as many pods as a step wants are told the new content, one at a time, and clients are sent there by its weight alone", () => {
  const first = run(onTrial(), [pod("a"), pod("b"), pod("c")]);
  expect(first.update?.canary).toEqual({ step: 1, weight: 0, sinceMs: undefined });
  expect([told(first), asked(first)]).toEqual([
    [TWO, ONE, ONE],
    ["b", "c"],
  ]);
  const begun = run(onTrial({ step: 1, weight: 0 }), [tried("a", { onTrial: false, listed: false }), pod("b"), pod("c")]);
  expect(begun.update?.canary).toEqual({ step: 1, weight: 5, sinceMs: NOW });
  expect([told(begun), weights(begun), begun.againAtMs]).toEqual([[TWO, ONE, ONE], [5, undefined, undefined], NOW + 60_000]);
  const next = run(onTrial(STEP_ONE), [tried("a"), pod("b"), pod("c")], NOW + 60_000);
  expect(next.update?.canary).toEqual({ step: 2, weight: 5, sinceMs: undefined });
  expect([told(next), asked(next), weights(next)]).toEqual([
    [TWO, TWO, ONE],
    ["a", "c"],
    [5, undefined, undefined],
  ]);
});

test("a clock that is set back holds neither a step nor the next look by the clock", () => {
  const later = new Date(NOW + 365 * 86_400_000).toISOString();
  const at = run(onTrial({ ...STEP_ONE, stepTime: later }), [tried("a"), pod("b")]);
  expect([at.update?.canary?.sinceMs, at.againAtMs]).toEqual([NOW, NOW + 60_000]);
  const looks = run(declared(ONE, served(ONE, D1, undefined, Date.parse(later)), { refreshInterval: "5m" }), [pod("a")]);
  expect([looks.served?.resolvedMs, looks.againAtMs]).toEqual([NOW, NOW + 300_000]);
});

test("several pods are swapped at a time where that is allowed, and one always stays", () => {
  const rolling = (maxUnavailable: number) => onTrial({}, { rollout: { strategy: "RollingUpdate", rollingUpdate: { maxUnavailable } } });
  const four = ["a", "b", "c", "d"].map((name) => pod(name));
  const [one, two, all] = [1, 2, 9].map((max) => run(rolling(max), four)) as [Rollout, Rollout, Rollout];
  expect([one, two, all].map(asked)).toEqual([["b", "c", "d"], ["c", "d"], ["d"]]);
  expect(told(two)).toEqual([TWO, TWO, ONE, ONE]);
  // Those that are in the middle of it count.
  const middle = [pod("a", between, { listed: false }), pod("b", waits, { listed: false }), pod("c"), pod("d")];
  expect(told(run(rolling(2), middle))).toEqual([TWO, TWO, ONE, ONE]);
  expect(told(run(rolling(2), [pod("a", second), ...middle.slice(1)]))).toEqual([TWO, TWO, TWO, ONE]);
});

test("a controller that was started anew swaps nothing and moves nobody before pods have said what they have", () => {
  const r = run(onTrial(STEP_ONE), [awaited("a", { onTrial: true }), awaited("b"), awaited("c")], NOW + 3_600_000);
  expect([weights(r), asked(r), r.update?.canary]).toEqual([
    [5, undefined, undefined],
    ["a", "b", "c"],
    { step: 1, weight: 5, sinceMs: NOW },
  ]);
  const half = run(onTrial(STEP_ONE), [awaited("a", { onTrial: true }), pod("b"), pod("c")], NOW);
  expect([told(half).slice(1), asked(half)]).toEqual([
    [ONE, ONE],
    ["a", "b", "c"],
  ]);
});

const health = (responses: number, errors: number): Health => ({ responses, errors, timed: 0, within: new Map(), recent: undefined });
const PROMOTE = { "adapter.model.aibrix.ai/promote": "1" };
const paused = (spec: { rollout: object }) => ({ rollout: { ...spec.rollout, paused: true } });

test("a promotion waits for the end of a pause, and its value is acted on once", () => {
  const pods = [tried("a"), tried("b", { onTrial: false }), pod("c")];
  const waits = run(onTrial(STEP_ONE, paused(CANARY), PROMOTE), pods);
  expect([waits.update?.canary?.step, waits.update?.reason, waits.handled.promote]).toEqual([1, "UpdatePaused", undefined]);
  const acts = run(onTrial(STEP_ONE, CANARY, PROMOTE), pods);
  expect([acts.update?.canary, acts.handled.promote]).toEqual([{ step: 2, weight: 50, sinceMs: NOW }, "1"]);
  const { status, ...adapter } = onTrial(STEP_ONE, CANARY, PROMOTE);
  const again = run({ ...adapter, status: { ...status, lastHandledPromote: "1" } }, pods);
  expect([again.update?.canary?.step, again.handled.promote]).toEqual([1, "1"]);
});

test("a pause keeps a rolling update from the next pod, and lets it go on after that", () => {
  const pods = [pod("a", second), pod("b"), pod("c")];
  const held = run(onTrial({}, paused({ rollout: {} })), pods);
  expect([told(held), asked(held), held.update?.reason]).toEqual([[TWO, ONE, ONE], ["a", "b", "c"], "UpdatePaused"]);
  expect(told(run(onTrial({}, { rollout: {} }), pods))).toEqual([TWO, TWO, ONE]);
});

test("what was on trial before an edit goes back before anything newer comes", () => {
  const ready = { ...prepared, artifactUrl: THREE, contentDigest: D3 };
  const adapter = onTrial({ artifactURL: THREE, state: "Preparing", contentDigest: D3 }, { ...CANARY, artifactURL: THREE });
  const of = (a: RolloutPod) => run(adapter, [a, pod("b", { prepared: ready })]);
  const before = of(tried("a", { view: pod("a", { ...second, prepared: ready }).view }));
  expect([before.update?.state, told(before), weights(before)]).toEqual(["Preparing", [ONE, ONE], [0, undefined]]);
  expect(of(pod("a", { prepared: ready })).update?.state).toBe("Swapping");
  // Also where nobody is sent there any more; but not for ever.
  const out = { onTrial: false, listed: false, view: pod("a", { ...second, prepared: ready }).view };
  expect(of(tried("a", out)).update?.state).toBe("Preparing");
  const failure = { kind: "load", fingerprint: "f", reason: "ArtifactNotFound", message: "m", retryable: true, attempts: 1 } as const;
  const call = { ...pod("a").call, failure: { ...failure, retryAtMs: NOW + 1 } };
  const isOf: RolloutPod["isOf"] = (_, { url }) => url === ONE;
  expect(of(tried("a", { ...out, call, isOf })).update?.state).toBe("Swapping");
});

test("pods that are left with the new content alone do not make it through", () => {
  const adapter = onTrial(STEP_ONE);
  const r = run(adapter, [tried("a")], NOW + 3_600_000);
  expect(updatedCondition(observed(r), adapter)).toMatchObject({ status: "Unknown", reason: "UpdateOnTrial" });
  expect([r.served?.url, r.update?.state, r.update?.reason]).toEqual([ONE, "Swapping", "CanaryNeedsPods"]);
});

test.each([
  { name: "an abort", annotations: { "adapter.model.aibrix.ai/abort": "1" }, health: undefined, reason: "UpdateAborted" },
  { name: "too many errors", annotations: {}, health: health(100, 11), reason: "UpdateAborted" },
  { name: "few errors", annotations: {}, health: health(100, 10), reason: undefined },
])("after $name clients are sent to what is decided on", ({ annotations, health, reason }) => {
  const spec = { rollout: { ...CANARY.rollout, canary: { ...CANARY.rollout.canary, abortOn: { errorPercent: 10 } } } };
  const adapter = onTrial(STEP_ONE, spec, annotations);
  const steps: string[] = [];
  const seen = (step: string) => (steps.push(step) > 0 ? health : undefined);
  const input = { name: "x", adapter, pods: [tried("a"), pod("b")], secrets: "", secretTrouble: undefined, nowMs: NOW };
  const r = rollout({ ...input, health: seen });
  expect([r.update?.reason, r.update?.state, weights(r)]).toEqual([
    reason,
    reason === undefined ? "Swapping" : "Failed",
    [reason === undefined ? 5 : 0, undefined],
  ]);
  expect(new Set(steps).size).toBeLessThanOrEqual(1);
  expect(told(r)).toEqual(reason === undefined ? [TWO, ONE] : [ONE, ONE]);
});

test("what was aborted is begun again for another content or another look, and by nothing else", () => {
  const failed = { state: "Failed", reason: "UpdateAborted", message: "m" } as const;
  const spec = { ...CANARY, refreshInterval: "1m" };
  expect(run(onTrial(failed, spec), [pod("a"), pod("b")]).update?.state).toBe("Failed");
  const asks = onTrial(failed, spec, { [ANNOTATION_REFRESH]: "1" });
  expect(run(asks, [pod("a"), pod("b")]).update?.state).toBe("Preparing");
  expect(run(onTrial(failed, { ...spec, artifactURL: THREE }), [pod("a"), pod("b")]).update?.state).toBe("Preparing");
  // Nor by taking away the annotation that came with it.
  for (const before of [undefined, "0"]) {
    const status = { ...served(ONE, D1, before), update: { ...SWAPPING, ...failed, refresh: "1" } };
    expect(run({ ...onTrial(failed, spec), status }, [pod("a"), pod("b")]).update?.state).toBe("Failed");
    expect(run({ ...asks, status }, [pod("a"), pod("b")]).update?.state).toBe("Failed");
    const other = onTrial(failed, spec, { [ANNOTATION_REFRESH]: "2" });
    expect(run({ ...other, status }, [pod("a"), pod("b")]).update?.state).toBe("Preparing");
  }
  // Another number of replicas, say, or other credentials.
  const { metadata, ...adapter } = onTrial(failed, spec);
  const edited = { ...adapter, metadata: { ...metadata, generation: 3 } };
  const input = { name: "x", adapter: edited, pods: [pod("a"), pod("b")], secrets: "others", secretTrouble: undefined, nowMs: NOW };
  expect(rollout(input).update?.state).toBe("Failed");
});

const ABORT = { "adapter.model.aibrix.ai/abort": "1" };
const ABORTED = { ...STEP_ONE, weight: 0, state: "Failed", reason: "UpdateAborted", message: "m" } as const;

test("an abort ends what pods fetch and check, and what they have prepared", () => {
  const loading = { ...prepared, state: "Downloading", contentDigest: undefined } as const;
  const pods = [pod("a", { prepared: loading }), pod("b", { prepared }), pod("c")];
  const given = (r: Rollout) => [...r.pods].map(([, p]) => p.prepare?.url);
  expect(given(run(onTrial({ state: "Preparing" }, CANARY, ABORT), pods))).toEqual([ONE, ONE, undefined]);
  expect(given(run(onTrial(ABORTED), pods))).toEqual([ONE, ONE, undefined]);
  // What failed for a reason of its own goes on telling it.
  expect(given(run(onTrial({ ...ABORTED, reason: "ArtifactDenied" }), pods))).toEqual([undefined, undefined, undefined]);
});

test.each([
  { name: "in the middle of a canary", adapter: onTrial(STEP_ONE, CANARY, { [ANNOTATION_REFRESH]: "2" }), onTrial: true, listed: true },
  { name: "soon after an abort", adapter: onTrial(ABORTED, CANARY, { [ANNOTATION_REFRESH]: "2" }), onTrial: false, listed: false },
  { name: "in a rolling update", adapter: onTrial({}, { rollout: {} }, { [ANNOTATION_REFRESH]: "2" }), onTrial: false, listed: true },
])("another look $name finds out what the reference leads to by now, whatever pods have of it", ({ adapter, onTrial, listed }) => {
  const begun = run(adapter, [pod("a", second, { onTrial, listed }), pod("b"), pod("c")]);
  expect(begun.update).toMatchObject({ state: "Preparing", content: { url: TWO, refresh: "2", digest: undefined } });
  expect([told(begun), weights(begun)[0]]).toEqual([[ONE, ONE, ONE], onTrial ? 0 : undefined]);
  const status = { ...adapter.status, ...contentStatus(observed(begun), adapter, undefined) };
  const ask = [...begun.pods.values()].find((p) => p.prepare !== undefined)?.prepare?.ask ?? "none";
  const found = { ...prepared, refresh: ask, contentDigest: D3 };
  const ready = ["a", "b", "c"].map((name) => pod(name, { prepared: found }));
  expect(run({ ...adapter, status }, ready).update).toMatchObject({ state: "Swapping", content: { refresh: "2", digest: D3 } });
});

test("an edit that asks for another look too is no look at what is served: nobody needs to tell what it led to", () => {
  const direct = { artifactUrl: undefined, root: "/one", contentDigest: undefined, declaredDigest: undefined };
  const adapter = declared("/two", served("/one", undefined), { refresh: "1" });
  const r = run(
    adapter,
    ["a", "b"].map((name) => pod(name, direct, { via: "direct" })),
  );
  expect([r.update?.state, told(r)]).toEqual(["Swapping", ["/two", "/one"]]);
  // Nor where only some can.
  const hub = declared("huggingface://o/two", served(ONE, D1), { refresh: "1" });
  const mixed = run(hub, [pod("a"), pod("b", { ...direct, root: "o/one" }, { via: "direct" })]);
  expect([mixed.update?.state, mixed.pods.get("a")?.prepare?.refresh]).toEqual(["Preparing", "1"]);
});

const CHECKS = { rollout: { checks: [{ prompt: "hello", expect: { contains: "hi" } }] } };
const FAILED = { state: "Failed", reason: "CheckFailed", message: "m" } as const;
/** Edits that say nothing about a content. */
const EDITS = {
  replicas: 3,
  refreshInterval: "6h",
  schedulerName: "random",
  rollout: { ...CANARY.rollout, paused: true, ...CHECKS.rollout },
};

test("an edit of what says nothing about a content has nothing prepared anew, and tries nothing again", () => {
  const adapter = onTrial({ state: "Preparing", contentDigest: undefined }, CHECKS);
  const of = (spec: object, more: object = {}, secrets = "") => {
    const edited = onTrial({ state: "Preparing", contentDigest: undefined, ...more }, spec);
    const now = { ...edited, metadata: { ...edited.metadata, generation: 7 } };
    const fetching = { ...prepared, refresh: asking(adapter), state: "Checking", checks: 1, contentDigest: undefined } as const;
    const pods = [pod("a", { prepared: fetching }), pod("b")];
    return rollout({ name: "x", adapter: now, pods, secrets, secretTrouble: undefined, nowMs: NOW + 1 }).pods.get("a")?.prepare?.ask;
  };
  expect([of(CHECKS), of(EDITS)]).toEqual([undefined, undefined]);
  // What does is asked for anew, also by an edit that was taken back meanwhile.
  for (const ask of [
    of({ rollout: {} }),
    of({ ...EDITS, baseModel: "m" }),
    of(EDITS, {}, "other"),
    of(EDITS, { startTime: "2026-01-01T11:00:00Z" }),
  ])
    expect(ask).toBeDefined();
  const failed = onTrial({ ...FAILED, fingerprint: basisOf({ adapter, secrets: "" }) }, EDITS);
  expect(run(failed, [pod("a"), pod("b")]).update?.state).toBe("Failed");
  expect(run({ ...failed, spec: { ...failed.spec, rollout: {} } }, [pod("a"), pod("b")]).update?.state).toBe("Preparing");
});

test("what fails again takes the place of its entry in the history", () => {
  const entry = (outcome: "Failed" | "Served", artifactURL = TWO) => ({
    artifactURL,
    contentDigest: D2,
    time: "2026-01-01T11:00:00Z",
    outcome,
  });
  const history = [entry("Failed"), entry("Served", ONE), entry("Served", THREE)];
  const adapter = onTrial({ state: "Preparing" });
  const { status } = adapter;
  const bad = { ...prepared, state: "Failed", reason: "CheckFailed", message: "m", retryable: false } as const;
  const r = run(adapter, [pod("a", { prepared: bad }), pod("b")]);
  const now = contentStatus(observed(r), { ...adapter, status: { ...status, history } }, undefined).history;
  expect(now).toEqual([{ ...entry("Failed"), time: new Date(NOW).toISOString() }, ...history.slice(1)]);
  const other = contentStatus(observed(r), { ...adapter, status: { ...status, history: history.slice(1) } }, undefined).history;
  expect(other?.map(({ outcome }) => outcome)).toEqual(["Failed", "Served", "Served"]);
});

test("contents that are refused in their first turn, one after the other, are told one by one", () => {
  const refused: Partial<RolloutPod> = { delivery: () => ({ kind: "refused", reason: "VolumeMissing", message: "no volume" }) };
  let status: ModelAdapterStatus = served(ONE, D1);
  /** @returns whether the end is told before anything else is, the events, and what `update` and `history` say of a turn */
  const turn = (url: string, unwritten?: string) => {
    const adapter = declared(url, status);
    const r = run(adapter, [pod("a", {}, refused)]);
    const now = { ...status, ...contentStatus({ ...observed(r), unwritten }, adapter, undefined) };
    const seen = [
      endsNow(r, adapter),
      updateEvents(status, now).map((e) => e.reason),
      now.update?.artifactURL,
      now.history?.[0]?.artifactURL,
    ];
    status = now;
    return seen;
  };
  expect(turn(TWO)).toEqual([true, ["UpdateFailed"], TWO, TWO]);
  expect(turn(THREE)).toEqual([true, ["UpdateFailed"], THREE, THREE]);
  expect(turn(TWO, "m")).toEqual([true, ["UpdateFailed"], TWO, TWO]);
  // And each only once.
  expect(turn(TWO)).toEqual([false, [], TWO, TWO]);
  expect(status.history).toHaveLength(3);
});

/** Of another Secret than what is served; a newer version of the same; and that while it cannot be read. */
const [SECRETS, NEWER, MISSING] = [
  secretsName("other", "key", "1"),
  secretsName("other", "key", "2"),
  secretsName("other", "key", "missing"),
];
const TROUBLE = { reason: "SecretUnavailable", message: "m" } as const;

test("what could not be had is tried again with other Secrets, but not because these cannot be read", () => {
  const adapter = onTrial({ state: "Failed", reason: "ArtifactDenied", message: "m", secrets: NEWER });
  const input = { name: "x", adapter, pods: [pod("a"), pod("b")], secrets: "others", nowMs: NOW };
  const unread = rollout({ ...input, secretsName: MISSING, secretTrouble: TROUBLE });
  expect(unread.update).toMatchObject({ state: "Failed", reason: "ArtifactDenied", content: { secrets: NEWER } });
  expect(rollout({ ...input, secretsName: secretsName("other", "key", "3"), secretTrouble: undefined }).update?.state).toBe("Preparing");
  // Another Secret, that cannot be read either, is another edit.
  const third = rollout({ ...input, secretsName: secretsName("third", "key", "missing"), secretTrouble: TROUBLE });
  expect(third.update).toMatchObject({ state: "Preparing", reason: "SecretUnavailable" });
});

/** Half of the requests, for a minute that is over. */
const HALF = {
  rollout: { strategy: "Canary", canary: { steps: [{ weight: 50, duration: "1m" }], abortOn: { errorPercent: 10 } } },
} as const;
const AT_HALF = { step: 1, weight: 50, stepTime: new Date(NOW - 60_000).toISOString() } as const;
const away = (name: string, more: Partial<RolloutPod> = {}) => ({ ...pod(name, {}, more), ready: false });

test.each([
  { name: "checks", spec: CHECKS },
  { name: "steps", spec: CANARY },
])("an update that waits for $name is not let through where all pods are gone for a moment", ({ spec }) => {
  const adapter = onTrial({ state: "Preparing" }, spec);
  const gone = run(adapter, []);
  expect([gone.update?.state, gone.served?.url]).toEqual(["Preparing", ONE]);
  const { view, ...joins } = pod("b", undefined, { hasServed: false, listed: false });
  const empty = { ...joins, view: { ...view, adapters: new Map() } };
  const comes = pod("b", { state: "Loading", serving: false, contentDigest: undefined }, { hasServed: false, listed: false });
  for (const b of [empty, comes]) expect([run(adapter, [b]).update?.state, told(run(adapter, [b]))]).toEqual(["Preparing", [ONE]]);
  // The new content is better than none where the old one is to be had no more.
  const reason = { state: "Failed", serving: false, reason: "ArtifactNotFound", message: "m", retryable: false } as const;
  const lost = run(adapter, [pod("b", { ...reason, contentDigest: undefined }, { hasServed: false, listed: false })]);
  expect([lost.update?.state, told(lost)]).toEqual(["Swapping", [TWO]]);
  // Where nothing serves from the first there is nothing to be kept.
  expect(told(run({ ...adapter, status: served(ONE, D1) }, [empty]))).toEqual([TWO]);
});

test("a canary is not through because all other pods are away for a moment", () => {
  const pods = [tried("a"), tried("b"), away("c"), away("d")];
  const of = (adapter: ModelAdapterObject, counted: Health) =>
    rollout({ name: "x", adapter, pods, secrets: "", secretTrouble: undefined, health: () => counted, nowMs: NOW });
  const r = of(onTrial(AT_HALF, HALF), health(100, 0));
  expect([r.served?.url, r.update?.canary]).toEqual([ONE, { step: 1, weight: 50, sinceMs: undefined }]);
  expect(r.update).toMatchObject({ reason: "CanaryNeedsPods", message: expect.stringContaining(`no pod serves ${ONE} any more`) });
  // What ends it does so in the same turn.
  expect(of(onTrial(AT_HALF, HALF, ABORT), health(100, 0)).update).toMatchObject({ state: "Failed", reason: "UpdateAborted" });
  expect(of(onTrial(AT_HALF, HALF), health(1_000, 900)).update).toMatchObject({ state: "Failed", reason: "UpdateAborted" });
  // A status that tells of the last step is needed for the end, also where somebody asks for the next step, and no abort.
  const promoted = of(onTrial(AT_HALF, HALF, PROMOTE), health(100, 0));
  expect([promoted.served?.url, promoted.update?.canary]).toEqual([ONE, { step: 2, weight: 100, sinceMs: NOW }]);
  const last = { ...AT_HALF, step: 2, weight: 100 };
  expect(of(onTrial(last, HALF), health(100, 0)).served?.url).toBe(TWO);
  expect(of(onTrial(last, HALF, ABORT), health(100, 0)).update?.state).toBe("Failed");
});

test("an abort wins over the end of a rolling update", () => {
  const r = run(onTrial({}, { rollout: {} }, ABORT), [pod("a", second), pod("b", second)]);
  expect([r.served?.url, r.update?.reason]).toEqual([ONE, "UpdateAborted"]);
});

const others = ["b", "c", "d", "e", "f"].map((name) => pod(name));
/** Its engine has ended, and is being started. */
const ends = (p: RolloutPod, more: Partial<RolloutPod> = {}): RolloutPod => ({
  ...p,
  ready: false,
  view: { ...p.view, engineReady: false, engineMessage: "it does not answer" },
  ...more,
});

test.each([
  { name: "a sidecar", direct: false },
  { name: "none", direct: true },
])("content that ends its engine has no successor, with $name, and ends with its first one", ({ direct }) => {
  const via = direct ? ({ via: "direct" } as const) : {};
  const at = (url: string) => (direct ? { artifactUrl: undefined, root: url, contentDigest: undefined } : {});
  const a = pod("a", { ...second, ...at(TWO) }, { ...via, onTrial: true });
  const rest = others.map(({ name }) => pod(name, at(ONE), via));
  const of = (first: RolloutPod, trials: Rollout["trials"], adapter = onTrial(STEP_ONE)) =>
    rollout({ name: "x", adapter, pods: [first, ...rest], secrets: "", secretTrouble: undefined, trials, nowMs: NOW });
  const { trials } = of(a, undefined);
  const gone = direct ? pod("a", undefined, { ...via, ready: false, listed: false }) : { ...ends(a), listed: false, onTrial: false };
  const down = direct ? { ...gone, view: { ...gone.view, adapters: new Map(), engineReady: false } } : gone;
  const r = of(down, trials);
  expect(told(r).slice(1)).toEqual([ONE, ONE, ONE, ONE, ONE]);
  expect(r.update).toMatchObject({ state: "Swapping", canary: { weight: 5, sinceMs: undefined }, reason: "EngineUnavailable" });
  expect(r.update?.message).toContain("pod a was given the new content and does not serve now");
  // Nor does one get it that has nothing at the moment.
  const empty = direct ? [pod("b", undefined, { ...via, view: { ...pod("b").view, adapters: new Map() } }), ...rest.slice(1)] : rest;
  const input = { name: "x", adapter: onTrial(STEP_ONE), secrets: "", secretTrouble: undefined, trials, nowMs: NOW };
  expect(told(rollout({ ...input, pods: [down, ...empty] })).slice(1)).toEqual([ONE, ONE, ONE, ONE, ONE]);
  const again = of({ ...down, engineRestarts: 1 }, r.trials);
  expect(again.update).toMatchObject({ state: "Failed", reason: "UpdateAborted", canary: { weight: 0 } });
  expect(again.update?.message).toContain("the engine of pod a was started anew");
  // One that had been started anew before it got the new content says nothing.
  expect(of({ ...a, engineRestarts: 1 }, of({ ...a, engineRestarts: 1 }, undefined).trials).update?.state).toBe("Swapping");
  // Nor what was seen in an update of before.
  expect(of({ ...a, engineRestarts: 1 }, { startMs: 1, pods: new Map([["a", { restarts: 0, served: false }]]) }).update?.state).toBe(
    "Swapping",
  );
});

test("a canary that is gone has a successor", () => {
  const adapter = onTrial(STEP_ONE);
  const input = { name: "x", adapter, secrets: "", secretTrouble: undefined, nowMs: NOW };
  const { trials } = rollout({ ...input, pods: [tried("a"), ...others] });
  expect(told(rollout({ ...input, trials, pods: others }))).toEqual([TWO, ONE, ONE, ONE, ONE]);
});

test("a rolling update waits for a pod that has not come back from it", () => {
  const adapter = onTrial({}, { rollout: {} });
  const input = { name: "x", adapter, secrets: "", secretTrouble: undefined, nowMs: NOW };
  const a = pod("a", second);
  const first = rollout({ ...input, pods: [a, ...others] });
  expect(told(first).filter((url) => url === TWO)).toHaveLength(2);
  const r = rollout({ ...input, trials: first.trials, pods: [ends(a), ...others] });
  expect(told(r).slice(1)).toEqual([ONE, ONE, ONE, ONE, ONE]);
  expect(r.update?.message).toContain("pod a was given the new content and does not serve now");
});

test("a rolling update is not ended by one restart of an engine that has served the new content, but by the next one", () => {
  const adapter = onTrial({}, { rollout: {} });
  const input = { name: "x", adapter, secrets: "", secretTrouble: undefined, nowMs: NOW };
  const at = (engineRestarts: number) => pod("a", second, { engineRestarts });
  const serves = rollout({ ...input, pods: [at(3), pod("b", second), pod("c"), pod("d")] });
  // Another adapter ended it, say: the others wait for it.
  const down = rollout({ ...input, pods: [ends(at(4)), pod("b", second), pod("c"), pod("d")], trials: serves.trials });
  expect([down.update?.state, down.update?.reason, told(down)]).toEqual(["Swapping", "EngineUnavailable", [TWO, TWO, ONE, ONE]]);
  const back = rollout({ ...input, pods: [at(4), pod("b", second), pod("c"), pod("d")], trials: down.trials });
  expect([back.update?.state, told(back)]).toEqual(["Swapping", [TWO, TWO, TWO, ONE]]);
  const again = rollout({ ...input, pods: [ends(at(5)), pod("b", second), pod("c"), pod("d")], trials: back.trials });
  expect(again.update).toMatchObject({
    state: "Failed",
    reason: "UpdateAborted",
    message: expect.stringContaining("pod a was started anew"),
  });
});

test("without weight a pod leaves the slices, as long as another one serves", () => {
  // Before the step begins.
  const before = run(onTrial({ step: 1, weight: 0 }, { rollout: { ...HALF.rollout, canary: { steps: [{ weight: 50 }] } } }), [
    tried("a", { onTrial: false, listed: false }),
    ...others.slice(0, 3),
  ]);
  expect([weights(before)[0], asked(before)]).toEqual([0, ["c", "d"]]);
  // After an abort, of the last step too; then all go back at once.
  for (const at of [STEP_ONE, { ...STEP_ONE, step: 3, weight: 100 }]) {
    const onTrialNow = at.weight < 100;
    const pods = [tried("a", { onTrial: onTrialNow }), tried("b", { onTrial: onTrialNow }), pod("c")];
    const r = run(onTrial(at, CANARY, ABORT), pods);
    expect([weights(r), asked(r)]).toEqual([[0, 0, undefined], ["c"]]);
  }
  const failed = { ...STEP_ONE, weight: 0, state: "Failed", reason: "UpdateAborted", message: "m" };
  const out = { onTrial: false, listed: false };
  const back = run(onTrial(failed), [tried("a", out), tried("b", out), pod("c")]);
  expect([told(back), asked(back)]).toEqual([[ONE, ONE, ONE], ["c"]]);
  // Rather that than nothing.
  expect(asked(run(onTrial(failed), [tried("a")]))).toEqual(["a"]);
});

test("a pod that could not load it takes no other one out of the slices at the last step", () => {
  const refused = { ...waits, state: "Failed", reason: "EngineRefused", message: "m", retryable: false } as const;
  const r = run(onTrial({ step: 3, weight: 100 }), [tried("a", { onTrial: false }), pod("b", refused), pod("c")]);
  expect([r.update?.reason, weights(r)]).toEqual(["EngineRefused", [undefined, undefined, undefined]]);
});

describe("an engine that refuses new content for what may pass", () => {
  const seen = { message: "m", retryable: true } as const;
  const asked = (reason: Reason, attempts: number) =>
    ({ kind: "load", fingerprint: "f", reason, attempts, retryAtMs: NOW + 1, ...seen }) as const;
  const direct = (reason: Reason, attempts: number, more: Partial<RolloutPod> = {}) =>
    pod(
      "a",
      {},
      {
        via: "direct",
        listed: false,
        seen: { adapters: new Map() },
        call: { ...pod("a").call, failure: asked(reason, attempts) },
        ...more,
      },
    );
  const sidecar = (reason: Reason, attempts: number) =>
    pod("a", { ...waits, declaredDigest: undefined, state: "Failed", reason, attempts, ...seen });
  const { contentDigest: _, ...update } = SWAPPING;
  const adapter = declared(TWO, { ...served(ONE, undefined), update });

  test.each([
    { name: "by its first such answer", p: direct("ArtifactNotFound", 1), state: "Swapping" },
    { name: "by its second such answer", p: direct("ArtifactNotFound", 2), state: "Swapping" },
    { name: "by its third such answer", p: direct("ArtifactNotFound", 3), state: "Failed" },
    { name: "by want of memory thrice", p: direct("EngineRefused", 3), state: "Failed" },
    { name: "by being away", p: direct("EngineUnavailable", 9), state: "Swapping" },
    { name: "by a pod that never served", p: direct("ArtifactNotFound", 9, { hasServed: false }), state: "Swapping" },
    { name: "by its first such answer to a sidecar", p: sidecar("ArtifactNotFound", 1), state: "Swapping" },
    { name: "by its third such answer to a sidecar", p: sidecar("ArtifactNotFound", 3), state: "Failed" },
    { name: "by being away from a sidecar", p: sidecar("EngineUnavailable", 9), state: "Swapping" },
  ])("$name the update is $state", ({ p, state }) => {
    const r = run(adapter, [p]);
    expect([r.update?.state, r.update?.reason]).toEqual([state, p.call.failure?.reason ?? p.view.adapters.get("x")?.reason]);
    expect(told(r)).toEqual([state === "Failed" ? ONE : TWO]);
    // An edit back, or what serves, is not given up so.
    expect(run(declared(ONE, served(ONE, undefined)), [p]).update).toBeUndefined();
  });
});

test("a promotion that nothing comes of waits", () => {
  const alone = run(onTrial(STEP_ONE, CANARY, PROMOTE), [tried("a")]);
  expect([alone.update?.canary?.step, alone.handled.promote]).toEqual([1, undefined]);
  const last = { step: 3, weight: 100 };
  const half = run(onTrial(last, CANARY, PROMOTE), [tried("a"), pod("b")]);
  expect([half.update?.canary?.step, half.handled.promote]).toEqual([3, undefined]);
  const done = run(onTrial(last, CANARY, PROMOTE), [tried("a"), pod("b", second)]);
  expect([done.served?.url, done.handled.promote]).toEqual([TWO, "1"]);
  // Where nothing is on trial it is over.
  expect(run(onTrial({ state: "Preparing" }, CANARY, PROMOTE), [pod("a"), pod("b")]).handled.promote).toBe("1");
});

test("a step whose time is over waits until its responses were judged, and says so", () => {
  const of = (responses: number) =>
    rollout({
      name: "x",
      adapter: onTrial(AT_HALF, HALF),
      pods: [tried("a"), pod("b")],
      secrets: "",
      secretTrouble: undefined,
      health: () => health(responses, 0),
      nowMs: NOW,
    }).update;
  expect(of(19)).toMatchObject({ canary: { step: 1, weight: 50 }, message: expect.stringContaining("fewer than 20 responses") });
  expect(of(20)).toMatchObject({ canary: { step: 2, weight: 100 }, message: undefined });
});

test("that an update ended is told although nothing else could be written", () => {
  const adapter = onTrial(STEP_ONE, CANARY, ABORT);
  const r = run(adapter, [tried("a"), pod("b")]);
  const now = contentStatus({ ...observed(r), unwritten: "m" }, adapter, undefined);
  expect(now).toMatchObject({ update: { state: "Failed" }, history: [{ artifactURL: TWO, outcome: "Aborted" }], lastHandledAbort: "1" });
  expect(updatedCondition({ ...observed(r), unwritten: "m" }, adapter)).toMatchObject({ status: "False", reason: "UpdateAborted" });
  const { update: _, ...told } = now;
  const again = { ...adapter, status: { ...adapter.status, ...told, ...(now.update === undefined ? {} : { update: now.update }) } };
  expect(contentStatus({ ...observed(run(again, [tried("a"), pod("b")])), unwritten: "m" }, again, undefined)).toEqual(now);
});

test("clients that come past the plugin are named where there are some", () => {
  const adapter = onTrial(STEP_ONE);
  const o = observed(run(adapter, [tried("a"), pod("b")]));
  expect(updatedCondition(o, adapter)?.message).not.toContain("HTTPRoute");
  expect(updatedCondition({ ...o, httpRoutes: true }, adapter)?.message).toContain("HTTPRoute, past the gateway plugin");
});

test.each([
  { name: "several pods", pods: 2, more: {} },
  { name: "one pod", pods: 1, more: {} },
  { name: "a pause", pods: 2, more: { paused: true } },
])("content that is the same needs no trial, with $name", ({ pods, more }) => {
  const ready = { ...prepared, contentDigest: D1 };
  const adapter = onTrial({ state: "Preparing", contentDigest: D1 }, { rollout: { ...CANARY.rollout, ...more } });
  const r = run(
    adapter,
    ["a", "b"].slice(0, pods).map((name) => pod(name, { prepared: ready })),
  );
  expect([r.update, r.served?.url]).toEqual([undefined, TWO]);
});

const byUrl = (url: string) => ({ artifactUrl: undefined, root: url, contentDigest: undefined, declaredDigest: undefined });

/** Turns of a rolling update whose content ends each engine that is given it. @returns who is told it, by turn */
function fatal(direct: boolean, { maxUnavailable = 1, forgets = false, restarts = 0 } = {}) {
  const adapter = onTrial(direct ? { contentDigest: undefined } : {}, { rollout: { rollingUpdate: { maxUnavailable } } });
  const names = ["a", "b", "c", "d"];
  const dead = new Set<string>();
  let trials: Rollout["trials"];
  const turns: Rollout[] = [];
  const down = { ready: false, listed: false, engineRestarts: restarts, seen: { engineReady: false } };
  for (let turn = 1; turn <= 5; turn += 1) {
    const pods = names.map((name) => {
      if (!dead.has(name)) return direct ? pod(name, byUrl(ONE), { via: "direct" }) : pod(name);
      if (!direct) return pod(name, between, down);
      return pod(name, undefined, { ...down, via: "direct", seen: { ...down.seen, adapters: new Map() } });
    });
    const remembered = forgets && turn === 3 ? undefined : trials;
    const r = rollout({ name: "x", adapter, pods, secrets: "", secretTrouble: undefined, trials: remembered, nowMs: NOW });
    trials = r.trials;
    turns.push(r);
    for (const [i, url] of told(r).entries()) if (url === TWO) dead.add(names[i] ?? "");
  }
  return { dead: [...dead], turns };
}

test.each([
  { name: "a sidecar", direct: false },
  { name: "none", direct: true },
])("content that ends engines while they load it goes no further than the first ones in a rolling update, with $name", ({ direct }) => {
  expect(fatal(direct).dead).toEqual(["a"]);
  expect(fatal(direct, { maxUnavailable: 2 }).dead).toEqual(["a", "b"]);
  // One that serves always stays.
  expect(fatal(direct, { maxUnavailable: 9 }).dead).toEqual(["a", "b", "c"]);
  // A controller that is started anew in the middle knows by what the pods show.
  expect(fatal(direct, { forgets: true }).dead).toEqual(["a"]);
  const { update } = fatal(direct).turns.at(-1) ?? {};
  expect(update).toMatchObject({ state: "Swapping", reason: "EngineUnavailable" });
  expect(update?.message).toContain("pod a was given the new content and does not serve now");
  // It ends once such an engine was started anew.
  const ended = fatal(direct, { restarts: 1 }).turns[1];
  expect(ended?.update).toMatchObject({ state: "Failed", reason: "UpdateAborted" });
  expect(ended?.update?.message).toContain("the engine of pod a was started anew after it was given the new content");
  expect(ended === undefined ? [] : told(ended)).toEqual([ONE, ONE, ONE, ONE]);
});

test("an engine that was started anew before it was given anything ends no update", () => {
  const input = { name: "x", adapter: onTrial({}, { rollout: {} }), secrets: "", secretTrouble: undefined, nowMs: NOW };
  const starts = (engineRestarts: number) =>
    pod("b", between, { ready: false, hasServed: false, listed: false, engineRestarts, seen: { engineReady: false } });
  const first = rollout({ ...input, pods: [pod("a"), starts(0), pod("c")] });
  const r = rollout({ ...input, trials: first.trials, pods: [pod("a", waits, { listed: false }), starts(3), pod("c")] });
  expect([r.update?.state, told(r)]).toEqual(["Swapping", [TWO, TWO, ONE]]);
});

test("content that hangs does not follow the replica that its pod gives away", () => {
  const input = { name: "x", secrets: "", secretTrouble: undefined, nowMs: NOW };
  const aside = { onTrial: false, listed: false, takesPart: false };
  for (const adapter of [onTrial(STEP_ONE), onTrial({}, { rollout: {} })]) {
    const { trials } = rollout({ ...input, adapter, pods: [tried("a"), ...others] });
    const hangs = { ...tried("a", aside), ready: false };
    const away = rollout({ ...input, adapter, pods: [hangs, ...others], trials });
    expect(told(away).slice(1)).toEqual(others.map(() => ONE));
    expect(away.update?.message).toContain("pod a was given the new content and does not serve now");
    // Nor where its sidecar knows nothing of it any more.
    const empty = { ...hangs, view: { ...hangs.view, adapters: new Map() } };
    const again = rollout({ ...input, adapter, pods: [empty, ...others], trials: away.trials });
    expect(told(again).slice(1)).toEqual(others.map(() => ONE));
    const engineRestarts = again.update?.canary === undefined ? 2 : 1;
    const restarted = rollout({ ...input, adapter, pods: [{ ...empty, engineRestarts }, ...others], trials: again.trials });
    expect(restarted.update).toMatchObject({ state: "Failed", reason: "UpdateAborted" });
    // One that is back, or is deleted, has a successor.
    for (const gone of [
      { ...empty, ready: true },
      { ...empty, ends: true },
    ])
      expect(told(rollout({ ...input, adapter, pods: [gone, ...others], trials: again.trials })).slice(1)).toContain(TWO);
  }
});

test.each([
  { name: "a canary", spec: CANARY, at: STEP_ONE, on: ["a"] },
  { name: "a rolling update", spec: { rollout: {} }, at: {}, on: ["a", "b"] },
])("a Secret that gets another version in the middle of $name, or cannot be read for a moment, throws nothing back", ({ spec, at, on }) => {
  const adapter = onTrial({ ...at, secrets: SECRETS }, spec);
  const names = ["a", "b", "c", "d"];
  const pods = names.map((name) => (on.includes(name) ? tried(name, { onTrial: on.length === 1 }) : pod(name)));
  const of = (secretsName: string, secretTrouble: RolloutInput["secretTrouble"] = undefined) =>
    rollout({ name: "x", adapter, pods, secrets: secretsName, secretsName, secretTrouble, nowMs: NOW + 30_000 });
  const same = of(SECRETS);
  const [newer, missing] = [of(NEWER), of(MISSING, TROUBLE)];
  for (const r of [newer, missing])
    expect(r.update).toMatchObject({ state: "Swapping", startMs: NOW, content: { secrets: SECRETS, digest: D2 } });
  expect([told(newer), asked(newer), weights(newer), newer.update?.canary]).toEqual([
    told(same),
    asked(same),
    weights(same),
    same.update?.canary,
  ]);
  // Nobody could be told anything: who has it keeps it, and nobody leaves.
  expect([told(missing), asked(missing), weights(missing)]).toEqual([
    names.map((name) => (on.includes(name) ? TWO : ONE)),
    names,
    weights(same),
  ]);
  // Another Secret is another edit.
  expect(of(secretsName("third", "key", "1")).update?.state).toBe("Preparing");
});

test("what a Secret holds since an update began is tried once that is through", () => {
  const adapter = onTrial({ secrets: SECRETS }, { rollout: {} });
  const pods = [pod("a", second), pod("b", second)];
  const r = rollout({ name: "x", adapter, pods, secrets: NEWER, secretsName: NEWER, secretTrouble: undefined, nowMs: NOW });
  expect(r.served).toMatchObject({ url: TWO, secrets: SECRETS });
  expect(r.update).toMatchObject({ state: "Preparing", content: { isCheck: true, secrets: NEWER, digest: D2 } });
});

test("while a Secret cannot be read no pod gives up what it has, and one that was told already goes on", () => {
  const of = (adapter: ModelAdapterObject, pods: readonly RolloutPod[]) => {
    const input = { name: "x", adapter, pods, secrets: "", secretsName: MISSING, secretTrouble: TROUBLE, nowMs: NOW };
    return rollout(input);
  };
  const begun = of(onTrial({ secrets: SECRETS }, { rollout: {} }), [pod("a", waits, { listed: false }), pod("b"), pod("c")]);
  expect([told(begun), asked(begun)]).toEqual([
    [TWO, ONE, ONE],
    ["b", "c"],
  ]);
  // Also on their way back, after an end and after an edit.
  const half = [pod("a", second), pod("b", second), pod("c")];
  const failed = onTrial({ state: "Failed", reason: "EngineRefused", message: "m", secrets: SECRETS }, { rollout: {} });
  const back = declared(ONE, { ...served(ONE, D1), update: { ...SWAPPING, secrets: SECRETS } }, { generation: 3 });
  for (const adapter of [failed, back])
    expect([told(of(adapter, half)), asked(of(adapter, half))]).toEqual([
      [TWO, TWO, ONE],
      ["a", "b", "c"],
    ]);
  // Nor is one that has nothing counted among those that were given it.
  const empty = pod("d", undefined, { listed: false, view: { ...pod("d").view, adapters: new Map() } });
  const trials = of(onTrial({ secrets: SECRETS }, { rollout: {} }), [pod("a", second), pod("b"), empty]).trials;
  expect([...(trials?.pods.keys() ?? [])]).toEqual(["a"]);
});

test("what ended an update is told of what its Secret held by then, so that it is not begun once more for that", () => {
  const adapter = onTrial({ secrets: SECRETS }, { rollout: {} });
  const refused = pod("a", { ...waits, state: "Failed", reason: "EngineRefused", message: "m", retryable: false });
  const input = { name: "x", adapter, pods: [refused, pod("b")], secrets: "2", secretsName: NEWER, secretTrouble: undefined, nowMs: NOW };
  const ends = rollout(input);
  expect(ends.update).toMatchObject({ state: "Failed", reason: "EngineRefused", content: { secrets: NEWER } });
  const status = { ...adapter.status, ...contentStatus(observed(ends), adapter, undefined) };
  const later = { ...input, adapter: { ...adapter, status }, pods: [pod("a"), pod("b")] };
  expect(rollout(later).update?.state).toBe("Failed");
  expect(rollout({ ...later, secrets: "3", secretsName: secretsName("other", "key", "3") }).update?.state).toBe("Preparing");
  // While it cannot be read nobody knows what it holds.
  const abort = { ...adapter, metadata: { ...adapter.metadata, annotations: ABORT } };
  const unread = rollout({ ...input, adapter: abort, secretsName: MISSING, secretTrouble: TROUBLE });
  expect(unread.update).toMatchObject({ reason: "UpdateAborted", content: { secrets: SECRETS } });
});

test("a CRD that keeps nothing of secrets does not make an update that failed begin anew with each turn", () => {
  const adapter = onTrial({ state: "Failed", reason: "ArtifactDenied", message: "m" });
  const input = { name: "x", adapter, pods: [pod("a"), pod("b")], secrets: "", secretsName: SECRETS, secretTrouble: undefined, nowMs: NOW };
  expect(rollout(input).update).toMatchObject({ state: "Failed", reason: "ArtifactDenied" });
  // Those that are declared now are others by more than their name.
  expect(rollout({ ...input, secrets: "others" }).update?.state).toBe("Preparing");
});

test("Updated tells of nothing that it is served while no pod serves", () => {
  const gone = pod("a", { state: "Pending", serving: false, contentDigest: undefined }, { ready: false, listed: false });
  const status = { ...served(ONE, D1), update: SWAPPING, conditions: [condition("Unknown")] };
  const back = declared(ONE, status, { generation: 3 });
  for (const pods of [[gone], []])
    expect(updatedCondition(observed(run(back, pods)), back)).toMatchObject({
      status: "Unknown",
      message: expect.stringContaining("no pod serves the adapter now"),
    });
  expect(updatedAs(back, run(back, [pod("a")]))).toBe("True");
  const rolls = declared(TWO, status);
  const message = (pods: readonly RolloutPod[]) => updatedCondition(observed(run(rolls, pods)), rolls)?.message;
  expect([message([gone]), message([pod("a"), pod("b")])]).toEqual([
    expect.stringContaining("no pod serves the adapter now"),
    expect.stringContaining("pod after pod"),
  ]);
});

test("a look by the clock that was aborted is followed by the next one, which finds the aborted content, or something else", () => {
  const refused = {
    ...SWAPPING,
    artifactURL: ONE,
    refresh: "@2026-01-01T11:55:00.000Z",
    state: "Failed",
    reason: "UpdateAborted",
    message: "m",
  } as const;
  const aborted = { artifactURL: ONE, contentDigest: D2, time: "2026-01-01T11:56:00.000Z", outcome: "Aborted" } as const;
  const conditions = [condition("False")];
  const status = { ...served(ONE, D1), update: refused, history: [aborted], conditions };
  const by = (status: ModelAdapterStatus) => declared(ONE, status, { refreshInterval: "5m" });
  const names = ["a", "b"];
  // Not before its time.
  const early = { ...status, ...served(ONE, D1, undefined, NOW - 599_000), update: { ...refused, refresh: "@2026-01-01T11:55:01.000Z" } };
  expect(run(by(early), [pod("a"), pod("b")]).update?.state).toBe("Failed");
  const begun = run(by(status), [pod("a"), pod("b")]);
  expect(begun.update).toMatchObject({ state: "Preparing", content: { refresh: "@2026-01-01T12:00:00.000Z", digest: undefined } });
  expect(updatedAs(by(status), begun)).toBe("False");
  const looking = by({ ...status, ...contentStatus(observed(begun), by(status), undefined) });
  const ask = [...begun.pods.values()].find((p) => p.prepare !== undefined)?.prepare?.ask ?? "none";
  const finds = (contentDigest: string) =>
    run(
      looking,
      names.map((name) => pod(name, { prepared: { ...prepared, artifactUrl: ONE, refresh: ask, contentDigest } })),
    );
  const again = finds(D2);
  expect(again.update).toMatchObject({ state: "Failed", reason: "UpdateAborted", content: { digest: D2 } });
  expect(told(again)).toEqual([ONE, ONE]);
  const written = { ...looking.status, ...contentStatus(observed(again), looking, undefined) };
  expect([updateEvents(looking.status, written), written.history?.length]).toEqual([[], 1]);
  expect(updatedAs(looking, again)).toBe("False");
  // An edit that is aborted a second time is told, whatever looks there were before.
  const edit = { ...refused, artifactURL: TWO, contentDigest: D2 } as const;
  const before = { ...served(ONE, D1), history: [{ ...aborted, artifactURL: TWO }], conditions };
  expect(updateEvents(before, { ...before, update: edit })).toMatchObject([{ reason: "UpdateAborted" }]);
  // It stays so until the next one.
  expect(run(by(written), [pod("a"), pod("b")]).update?.state).toBe("Failed");
  expect(run(by(written), [pod("a"), pod("b")], NOW + 300_000).update?.state).toBe("Preparing");
  expect(finds(D3).update).toMatchObject({ state: "Swapping", content: { digest: D3 } });
  expect([finds(D1).update, updatedAs(looking, finds(D1))]).toEqual([undefined, "True"]);
  // Whoever asks for it by the annotation gets it.
  const asks = { ...looking, metadata: { ...looking.metadata, annotations: { [ANNOTATION_REFRESH]: "1" } } };
  const wish = run(asks, [pod("a"), pod("b")]);
  const asking = { ...asks, status: { ...asks.status, ...contentStatus(observed(wish), asks, undefined) } };
  const wished = [...wish.pods.values()].find((p) => p.prepare !== undefined)?.prepare?.ask ?? "none";
  const ready = names.map((name) => pod(name, { prepared: { ...prepared, artifactUrl: ONE, refresh: wished } }));
  expect(run(asking, ready).update).toMatchObject({ state: "Swapping", content: { refresh: "1", digest: D2 } });
});
