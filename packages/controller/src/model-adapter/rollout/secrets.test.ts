import { ANNOTATION_ABORT, type ModelAdapterStatus } from "@aibrix/api";
import { expect, test } from "vitest";
import { type AdapterView, NOTHING_KNOWN } from "../../engines/agent.ts";
import type { Rollout } from "../contents.ts";
import type { ModelAdapterObject, Observed } from "../types.ts";
import { contentStatus, updatedCondition, updateEvents } from "../update-status.ts";
import { askOf, basisOf } from "./ask.ts";
import type { RolloutInput, RolloutPod } from "./input.ts";
import { rollout } from "./rollout.ts";
import { secretsName } from "./secrets.ts";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const [D1, D2] = ["sha256:1", "sha256:2"];
const URL = "s3://models/one";
const FIRST = secretsName("store", "key", "1");
/** Of another Secret, of another key, and of another version of the same. */
const [OTHER_STORE, OTHER_KEY, NEWER] = [
  secretsName("other", "key", "2"),
  secretsName("store", "other", "2"),
  secretsName("store", "key", "2"),
];

type Prepared = NonNullable<AdapterView["prepared"]>;

function pod(name: string, prepared?: Partial<Prepared>, seen: Partial<AdapterView> = {}): RolloutPod {
  const empty = { revision: undefined, attempts: 0, reason: undefined, message: undefined, retryable: true, nextRetryTime: undefined };
  const adapter: AdapterView = {
    ...empty,
    name: "x",
    state: "Serving",
    serving: true,
    base: false,
    own: true,
    artifactUrl: URL,
    root: "/store/one",
    contentDigest: D1,
    declaredDigest: D1,
    ...(prepared === undefined
      ? {}
      : { prepared: { ...empty, artifactUrl: URL, refresh: asked(), contentDigest: D1, state: "Ready", ...prepared } }),
    ...seen,
  };
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
    view: { ...NOTHING_KNOWN, knowledge: "fresh", engineReady: true, adapters: new Map([["x", adapter]]) },
    call: { running: undefined, done: undefined, accepted: {}, failure: undefined },
    engineRestarts: 0,
    doubtful: false,
    delivery: () => ({ kind: "volume", runtimeDir: "/sidecar", engineDir: "/engine" }),
    isOf: () => true,
    takesKey: () => false,
    hasSecrets: () => true,
  };
}

const DENIED = { state: "Failed", contentDigest: undefined, reason: "ArtifactDenied", message: "denied", retryable: false } as const;

function declared(status: Partial<ModelAdapterStatus> = {}, generation = 2): ModelAdapterObject {
  const resolvedTime = new Date(NOW - 600_000).toISOString();
  return {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name: "x", namespace: "default", uid: "u", generation },
    spec: { artifactURL: URL, podSelector: {} },
    status: { observedGeneration: 1, contentDigest: D1, served: { artifactURL: URL, secrets: FIRST, resolvedTime }, ...status },
  };
}

/** What the first asking for it is named. */
function asked(): string {
  const adapter = declared();
  return askOf({ adapter }, basisOf({ adapter, secrets: "v" }), NOW, { refresh: undefined });
}

const run = (adapter: ModelAdapterObject, secretsName: string | undefined, pods: readonly RolloutPod[], more: Partial<RolloutInput> = {}) =>
  rollout({ name: "x", adapter, pods, secrets: "v", secretsName, secretTrouble: undefined, nowMs: NOW, ...more });
const observed = (r: Rollout) => ({ rollout: r, unwritten: undefined, nowMs: NOW }) as Observed;
const told = (adapter: ModelAdapterObject, r: Rollout) => updatedCondition(observed(r), adapter);
/** The adapter as it is after a turn. */
const after = (adapter: ModelAdapterObject, r: Rollout): ModelAdapterObject => ({
  ...adapter,
  status: { ...adapter.status, ...contentStatus(observed(r), adapter, undefined) },
});

test.each([
  { name: "another API key", secrets: OTHER_KEY, digest: D1, condition: "Unknown" },
  { name: "a newer version of the same Secret", secrets: NEWER, digest: D1, condition: undefined },
  { name: "credentials of another Secret", secrets: OTHER_STORE, digest: undefined, condition: "Unknown" },
  { name: "no secrets any more", secrets: undefined, digest: undefined, condition: "Unknown" },
])("$name: tried on pods that serve before anything is told", ({ secrets, digest, condition }) => {
  const adapter = declared();
  const r = run(adapter, secrets, [pod("a"), pod("b")]);
  expect(r.update).toMatchObject({ state: "Preparing", content: { proves: true, digest } });
  expect(r.pods.get("a")?.prepare).toMatchObject({ url: URL, digest });
  // A reference that is resolved anew is so by one pod.
  expect(r.pods.get("b")?.prepare === undefined).toBe(digest === undefined);
  expect([told(adapter, r)?.status, r.served?.secrets]).toEqual([condition, FIRST]);
});

test("once every pod has found them good, they are those of what is served, which is as old as it was", () => {
  const half = run(declared(), OTHER_KEY, [pod("a", {}), pod("b")]);
  expect([half.update?.state, half.served?.secrets]).toEqual(["Preparing", FIRST]);
  const r = run(declared(), OTHER_KEY, [pod("a", {}), pod("b", {})]);
  expect(r.update).toBeUndefined();
  expect(r.served).toMatchObject({ secrets: OTHER_KEY, digest: D1, resolvedMs: NOW - 600_000 });
  expect(told(declared(), r)).toMatchObject({ status: "True" });
});

test("refused ones are told, and stay so only while a pod is there that refuses them", () => {
  const adapter = declared();
  const refused = run(adapter, OTHER_KEY, [pod("a", DENIED), pod("b", {})]);
  expect(told(adapter, refused)).toMatchObject({
    status: "False",
    reason: "ArtifactDenied",
    message: expect.stringContaining("pod a: denied"),
  });
  const later = after(adapter, refused);
  expect((later.status?.history ?? []).map((h) => h.outcome)).not.toContain("Failed");
  expect(run(later, OTHER_KEY, [pod("a", DENIED), pod("b", {})]).update?.state).toBe("Failed");
  expect(run(later, OTHER_KEY, [pod("b", {})])).toMatchObject({ update: undefined, served: { secrets: OTHER_KEY } });
});

test("another Secret's credentials that lead elsewhere are an update of the content", () => {
  const r = run(declared(), OTHER_STORE, [pod("a", { contentDigest: D2 }), pod("b", { contentDigest: D2 })]);
  expect(r.update).toMatchObject({ state: "Swapping", content: { digest: D2, secrets: OTHER_STORE } });
});

test("a Secret that cannot be read changes nothing, and another one that cannot be read is told", () => {
  const secretTrouble = { reason: "SecretNotFound", message: "create it" } as const;
  const missing = secretsName("store", "key", "missing");
  expect(run(declared(), missing, [pod("a")], { secretTrouble }).update).toBeUndefined();
  const adapter = declared();
  const r = run(adapter, secretsName("other", "key", "missing"), [pod("a")], { secretTrouble });
  expect(told(adapter, r)).toMatchObject({ status: "False", reason: "SecretNotFound", message: expect.stringContaining("create it") });
});

test("what a controller of before did not write down is what is declared, where nothing was edited since", () => {
  const served = { artifactURL: URL, resolvedTime: new Date(NOW).toISOString() };
  const adapter = declared({ served }, 1);
  const same = run(adapter, FIRST, [pod("a")]);
  expect([same.update, same.served?.secrets]).toEqual([undefined, FIRST]);
  const written = after(adapter, same).status ?? {};
  expect([told(adapter, same), updateEvents(adapter.status, written), written.served?.secrets]).toEqual([undefined, [], FIRST]);
  expect(run(declared({ served }, 2), FIRST, [pod("a")]).update?.state).toBe("Preparing");
});

test("the first secrets that somebody declares are told once every pod has found them good", () => {
  const adapter = declared({ served: { artifactURL: "/models/one", resolvedTime: new Date(NOW).toISOString() } });
  const path = { ...adapter, spec: { ...adapter.spec, artifactURL: "/models/one" } };
  const tried = {
    artifactUrl: "/models/one",
    refresh: askOf({ adapter: path }, basisOf({ adapter: path, secrets: "v" }), NOW, { refresh: undefined }),
  };
  const r = run(path, FIRST, [pod("a", tried, { artifactUrl: "/models/one" })]);
  expect(r).toMatchObject({ update: undefined, served: { secrets: FIRST } });
  expect(told(path, r)).toMatchObject({ status: "True", reason: "Updated" });
  // Also where the generation that is served has not moved yet, for no pod could be listed.
  const trying = after(path, run(path, FIRST, [pod("a", undefined, { artifactUrl: "/models/one" })])).status;
  expect(trying?.update).toMatchObject({ state: "Preparing", secrets: FIRST });
  for (const [before, observedGeneration] of [
    [path.status, 2],
    [trying, 1],
  ] as const) {
    const { update: _, ...settled } = { ...after(path, r).status, observedGeneration };
    expect(updateEvents(before, settled)).toMatchObject([{ reason: "Updated", note: expect.stringContaining("other credentials") }]);
  }
});

test("a CRD that keeps nothing of secrets does not make an update begin anew with each turn", () => {
  const { secrets: _, ...served } = declared().status?.served ?? { artifactURL: URL, resolvedTime: "" };
  const adapter = declared({ served });
  const { secrets: __, ...update } = after(adapter, run(adapter, FIRST, [pod("a")], { nowMs: NOW - 5_000 })).status?.update ?? {};
  const r = run(declared({ served, update } as Partial<ModelAdapterStatus>), FIRST, [pod("a")]);
  expect(r.update?.startMs).toBe(NOW - 5_000);
});

test.each([
  { name: "another API key", secrets: OTHER_KEY, newer: secretsName("store", "other", "3") },
  { name: "credentials of another Secret, which lead to the same", secrets: OTHER_STORE, newer: secretsName("other", "key", "3") },
])("$name: tried ones are not aborted by an engine that is started anew, and after an abort others are tried", ({ secrets, newer }) => {
  const broken = pod("b", undefined, { state: "Failed", serving: false, contentDigest: undefined });
  const adapter = declared();
  const tries = run(adapter, secrets, [pod("a", {}), broken]);
  expect([tries.update?.state, tries.update?.content.digest, tries.trials]).toEqual(["Swapping", D1, undefined]);
  const trials = { startMs: NOW, pods: new Map([["a", { restarts: 0, served: false }]]) };
  const begun = after(adapter, tries);
  const down = { ...pod("a", {}), ready: false, engineRestarts: 1 };
  // Nor is a pod that is away one that was given something, to whoever remembers and to whoever does not.
  for (const more of [{ trials }, {}]) {
    const r = run(begun, secrets, [down, broken], more);
    expect([r.update?.state, r.update?.reason]).toEqual(["Swapping", undefined]);
  }
  const abort = { ...begun, metadata: { ...begun.metadata, annotations: { [ANNOTATION_ABORT]: "1" } } };
  const r = run(abort, secrets, [pod("a", {}), broken]);
  const aborted = { ...after(abort, r), status: { ...after(abort, r).status, lastHandledAbort: "1" } };
  expect(aborted.status.update).toMatchObject({ state: "Failed", reason: "UpdateAborted" });
  expect(run(aborted, secrets, [pod("a", {}), broken]).update?.state).toBe("Failed");
  expect(run(aborted, newer, [pod("a"), broken]).update).toMatchObject({ state: "Preparing", content: { secrets: newer } });
});

test("other credentials that led to something else stay aborted, whatever their Secret holds by then", () => {
  const update = { artifactURL: URL, secrets: OTHER_STORE, contentDigest: D2, fingerprint: "f", startTime: new Date(NOW).toISOString() };
  const aborted = declared({ update: { ...update, state: "Failed", reason: "UpdateAborted", message: "m" } });
  expect(run(aborted, secretsName("other", "key", "3"), [pod("a"), pod("b")]).update?.state).toBe("Failed");
});

test("refused ones stay refused while their Secret cannot be read", () => {
  const adapter = declared();
  const pods = [pod("a", DENIED), pod("b", {})];
  const refused = after(adapter, run(adapter, NEWER, pods));
  const secretTrouble = { reason: "SecretNotFound", message: "create it" } as const;
  const r = run(refused, secretsName("store", "key", "missing"), pods, { secretTrouble });
  expect(r.update).toMatchObject({ state: "Failed", reason: "ArtifactDenied", content: { secrets: NEWER } });
  expect(told(refused, r)).toMatchObject({ status: "False", reason: "ArtifactDenied" });
  // What it holds then is tried, and what is in use needs no try.
  expect(run(refused, secretsName("store", "key", "3"), pods, { secrets: "v3" }).update?.state).toBe("Preparing");
  expect(run(refused, FIRST, pods).update).toBeUndefined();
});

test("a controller that is started anew in the middle of an update to another Secret's content makes no mere check of it", () => {
  const of = (update: Partial<NonNullable<ModelAdapterStatus["update"]>>, pods: readonly RolloutPod[]) => {
    const adapter = declared();
    const asks = {
      artifactURL: URL,
      secrets: OTHER_STORE,
      fingerprint: basisOf({ adapter, secrets: "v" }),
      startTime: new Date(NOW).toISOString(),
    };
    return run(declared({ update: { ...asks, state: "Preparing", ...update } }), OTHER_STORE, pods).update;
  };
  const view = { ...NOTHING_KNOWN, knowledge: "awaited" as const };
  // Nothing is known of the pods before they answer, nor where there are none for a moment.
  for (const pods of [
    [
      { ...pod("a"), view },
      { ...pod("b"), view },
    ],
    [{ ...pod("a"), view: { ...view, knowledge: "lost" as const } }],
    [],
  ]) {
    expect(of({ state: "Swapping", contentDigest: D2 }, pods)).toMatchObject({ state: "Swapping", content: { digest: D2 } });
    expect(of({ contentDigest: D2 }, pods)).toMatchObject({ state: "Preparing", content: { digest: D2 } });
    expect(of({}, pods)).toMatchObject({ state: "Preparing", content: { digest: undefined, isRefresh: true } });
  }
});

test("another API key of the spec that is refused in its first turn is told, and the same one only once", () => {
  const failed = {
    artifactURL: URL,
    fingerprint: "f",
    state: "Failed",
    startTime: new Date(NOW).toISOString(),
    reason: "EngineUnauthorized",
  } as const;
  const of = (secrets: string) => declared({ update: { ...failed, secrets } }).status ?? {};
  expect(updateEvents(of(FIRST), of(OTHER_KEY)).map((e) => e.reason)).toEqual(["UpdateFailed"]);
  expect(updateEvents(of(OTHER_KEY), of(OTHER_KEY))).toEqual([]);
  // A CRD of before tells nothing of them.
  expect(updateEvents(declared({ update: failed }).status, of(OTHER_KEY))).toEqual([]);
});
