import { REASONS, type Reason } from "@aibrix/api";
import type { CallFailure, CallState, PodCalls } from "../engines/calls.ts";
import type { AdapterMemory } from "./memory.ts";
import { isSeen } from "./ownership.ts";
import { isMemory } from "./rows.ts";
import type { ModelAdapterObject, PodRow } from "./types.ts";

/** Lets what an earlier process wrote down about its calls count here: once, when the adapter is first decided about. */
export function recallCalls(adapter: ModelAdapterObject, memory: AdapterMemory, calls: PodCalls): void {
  if (memory.recalled) return;
  memory.recalled = true;
  for (const row of adapter.status?.pods ?? []) {
    if (row.uid === undefined) continue;
    const { done, failure } = callsOf(row);
    const refused = isMemory(row, adapter.status ?? {}) ? failure : undefined;
    if (refused !== undefined) memory.recallRefusal(row.uid, refused, refused.fingerprint);
    // Nobody was asked for these: they are over when they are seen no more.
    const seen = refused !== undefined && isSeen(refused);
    calls.recall(row.uid, adapter.metadata.name, { done, failure: seen ? undefined : failure });
  }
}

/** What a row of the status says about calls to its pod. Pure. */
export function callsOf(row: PodRow): Pick<CallState, "done" | "failure"> {
  const { asked, acceptedFingerprint: accepted } = row;
  const done = asked === true || accepted !== undefined ? ({ kind: "load", fingerprint: accepted ?? "", atMs: 0 } as const) : undefined;
  return { done, failure: failureOf(row) };
}

function failureOf({ state, refusedFingerprint, attempts = 0, lastError, reason, nextRetryTime }: PodRow): CallFailure | undefined {
  // One that was being tried again has no outcome yet.
  if (state === "Loading") return undefined;
  if (refusedFingerprint === undefined || attempts === 0 || lastError === undefined) return undefined;
  return {
    kind: "load",
    fingerprint: refusedFingerprint,
    reason: reason !== undefined && reason in REASONS ? (reason as Reason) : "RuntimeUnavailable",
    message: lastError,
    retryable: nextRetryTime !== undefined,
    attempts,
    retryAtMs: nextRetryTime === undefined ? undefined : Date.parse(nextRetryTime),
  };
}
