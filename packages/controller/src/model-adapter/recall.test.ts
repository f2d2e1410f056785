import { expect, test } from "vitest";
import { PodCalls } from "../engines/calls.ts";
import { AdapterMemory } from "./memory.ts";
import { callsOf, recallCalls } from "./recall.ts";
import type { ModelAdapterObject, PodRow } from "./types.ts";

const RETRY = "2026-01-01T12:00:30.000Z";
const failed = { state: "Failed", attempts: 5, lastError: "no", reason: "EngineRefused", refusedFingerprint: "f" } as const;

test.each<{ name: string; row: Omit<PodRow, "name">; done?: object; failure?: object }>([
  { name: "a row without calls", row: { state: "Serving", taken: true } },
  {
    name: "a failure that waits for its time",
    row: { ...failed, nextRetryTime: RETRY },
    failure: {
      kind: "load",
      fingerprint: "f",
      reason: "EngineRefused",
      message: "no",
      retryable: true,
      attempts: 5,
      retryAtMs: Date.parse(RETRY),
    },
  },
  {
    name: "a failure that waits for an edit",
    row: failed,
    failure: {
      kind: "load",
      fingerprint: "f",
      reason: "EngineRefused",
      message: "no",
      retryable: false,
      attempts: 5,
      retryAtMs: undefined,
    },
  },
  { name: "a failure that was being tried again", row: { ...failed, state: "Loading" } },
  { name: "a failure that is the sidecar's own", row: { state: "Failed", attempts: 5, lastError: "no", reason: "ArtifactInvalid" } },
  {
    name: "a failure whose reason no release knows any more",
    row: { ...failed, reason: "Unheard" },
    failure: expect.objectContaining({ reason: "RuntimeUnavailable" }) as object,
  },
  {
    name: "what a sidecar accepted with a Secret",
    row: { state: "Serving", taken: true, acceptedFingerprint: "g" },
    done: { kind: "load", fingerprint: "g", atMs: 0 },
  },
  { name: "what an engine was asked for", row: { state: "Serving", asked: true }, done: { kind: "load", fingerprint: "", atMs: 0 } },
])("of $name", ({ row, done, failure }) => {
  expect(callsOf({ name: "a", ...row })).toEqual({ done, failure });
});

test("what this process knows itself counts before what was written down, and that is read once", () => {
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const calls = new PodCalls({ log, signal: new AbortController().signal, onDone: () => undefined });
  const memory = new AdapterMemory();
  const adapter = (lastError: string) =>
    ({ metadata: { name: "x" }, status: { pods: [{ name: "a", uid: "u", ...failed, lastError }] } }) as unknown as ModelAdapterObject;
  recallCalls(adapter("first"), memory, calls);
  expect(calls.state("u", "x").failure?.message).toBe("first");
  calls.shown("u", "x", "load");
  recallCalls(adapter("second"), memory, calls);
  expect(calls.state("u", "x").failure).toBeUndefined();
});

test.each([
  { reason: "EngineRuntimeUpdatingDisabled", where: "a pod that it is not on", instances: ["b"], refusal: true, asked: true },
  { reason: "NameConflict", where: "a pod that it is not on", instances: ["b"], refusal: true, asked: false },
  { reason: "EngineRuntimeUpdatingDisabled", where: "a pod that it is on", instances: ["a"], refusal: false, asked: true },
] as const)("$reason of $where", ({ reason, instances, refusal, asked }) => {
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const calls = new PodCalls({ log, signal: new AbortController().signal, onDone: () => undefined });
  const memory = new AdapterMemory();
  const status = { instances, pods: [{ name: "a", uid: "u", ...failed, reason }] };
  recallCalls({ metadata: { name: "x" }, status } as unknown as ModelAdapterObject, memory, calls);
  expect(memory.refusal("u", () => "f") !== undefined).toBe(refusal);
  expect(memory.refusal("u", () => "of an edit")).toBeUndefined();
  expect(calls.state("u", "x").failure !== undefined).toBe(asked);
});
