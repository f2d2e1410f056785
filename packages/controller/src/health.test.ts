import { describe, expect, test } from "vitest";
import { HEALTH_BOUNDS, notAlive, notReady } from "./health.ts";

const NOW = 1_000_000;

function cache(resource: string, synced: boolean, silentMs?: number, lastError?: string) {
  const since = silentMs === undefined ? undefined : NOW - silentMs;
  const state = { synced, connected: since === undefined, disconnectedSinceMs: since, lists: 1, watches: 1, failures: 0 };
  return { resource, state: lastError === undefined ? state : { ...state, lastError } };
}

describe("not ready", () => {
  test.each([
    ["all are watched", [cache("pods", true), cache("services", true)], undefined],
    ["one is away for a moment", [cache("pods", true, 59_999), cache("services", true)], undefined],
    [
      "one has been away for a minute",
      [cache("pods", true, 60_000, "HTTP 403"), cache("services", true)],
      "for 60 s the API server has told nothing of pods (HTTP 403): is it reachable, and the RBAC applied?",
    ],
    [
      "two of a kind, and another",
      [cache("endpointslices", true, 75_000), cache("endpointslices", true, 80_000), cache("pods", true, 61_000, "ECONNREFUSED")],
      "for 80 s the API server has told nothing of endpointslices, pods (ECONNREFUSED): is it reachable, and the RBAC applied?",
    ],
    [
      "one was never filled",
      [cache("pods", true), cache("services", false, 1, "HTTP 403")],
      "the caches of services are not filled yet (HTTP 403): is the API server reachable, and the RBAC applied?",
    ],
  ])("%s", (_, caches, reason) => {
    expect(notReady(caches, HEALTH_BOUNDS, NOW)).toBe(reason);
  });
});

describe("not alive", () => {
  const queue = (name: string, stuckMs: number) => ({ name, queue: { stuckMs } });
  test.each([
    ["it waits for the lease", [], undefined, undefined],
    ["it works", [queue("modeladapter", 400_000), queue("engines", 0)], NOW - 2_000, undefined],
    ["it works without an election", [queue("modeladapter", 10)], undefined, undefined],
    [
      "nothing ends",
      [queue("engines", 0), queue("modeladapter", 600_000)],
      NOW - 2_000,
      "the queue modeladapter has work, and none of it has ended for 600 s",
    ],
    ["the renewals are late", [], NOW - 44_000, undefined],
    ["the renewals stopped", [], NOW - 45_000, "the lease was renewed 45 s ago, and the process does not end"],
  ])("%s", (_, queues, renewedMs, reason) => {
    expect(notAlive(queues, renewedMs, HEALTH_BOUNDS, NOW)).toBe(reason);
  });
});
