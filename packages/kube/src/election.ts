import { rfc3339Micro } from "./conditions.ts";
import type { LeaseSpec } from "./types.ts";

/** A lease as this process saw it. */
export interface Sighting {
  readonly spec: LeaseSpec;
  /** This process's steady clock when it first saw this very content, in milliseconds. */
  readonly seenAtMs: number;
}

/** What to do about the lease now. */
export type ElectionStep = "create" | "acquire" | "renew" | "wait";

/**
 * Decides one step of an election. Pure.
 * A foreign lease counts as over when it did not change for its duration on our own clock, so that clocks that differ between machines
 * do no harm. An empty holder is a lease that was given back.
 */
export function electionStep(sighting: Sighting | undefined, me: string, leaseMs: number, nowMs: number): ElectionStep {
  if (sighting === undefined) return "create";
  const { holderIdentity, leaseDurationSeconds } = sighting.spec;
  if (holderIdentity === me) return "renew";
  if (holderIdentity === undefined || holderIdentity === "") return "acquire";
  const durationMs = leaseDurationSeconds === undefined ? leaseMs : leaseDurationSeconds * 1000;
  return nowMs - sighting.seenAtMs >= durationMs ? "acquire" : "wait";
}

/** The sighting after a read: a content seen before keeps the time of its first sight. */
export function sight(before: Sighting | undefined, spec: LeaseSpec, nowMs: number): Sighting {
  return before !== undefined && sameSpec(before.spec, spec) ? before : { spec, seenAtMs: nowMs };
}

/** The lease that a step writes. */
export function nextSpec(
  step: "create" | "acquire" | "renew" | "release",
  old: LeaseSpec | undefined,
  me: string,
  leaseMs: number,
  now: Date,
): LeaseSpec {
  const time = rfc3339Micro(now);
  const leaseTransitions = old?.leaseTransitions ?? 0;
  if (step === "release") return { ...old, holderIdentity: "", leaseDurationSeconds: 1, renewTime: time };
  if (step === "renew") return { ...old, holderIdentity: me, leaseDurationSeconds: Math.ceil(leaseMs / 1000), renewTime: time };
  return {
    holderIdentity: me,
    leaseDurationSeconds: Math.ceil(leaseMs / 1000),
    acquireTime: time,
    renewTime: time,
    leaseTransitions: step === "create" ? 0 : leaseTransitions + 1,
  };
}

function sameSpec(a: LeaseSpec, b: LeaseSpec): boolean {
  return (
    a.holderIdentity === b.holderIdentity &&
    a.renewTime === b.renewTime &&
    a.acquireTime === b.acquireTime &&
    a.leaseDurationSeconds === b.leaseDurationSeconds &&
    a.leaseTransitions === b.leaseTransitions
  );
}
