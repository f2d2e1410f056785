import type { ReflectorState } from "@aibrix/kube";

/** Times after which something is wrong, in milliseconds. */
export interface HealthBounds {
  /** Without changes from the API server: what is known may be old. */
  readonly disconnectedMs: number;
  /** With work of which none ends. More than any work may take. */
  readonly stuckMs: number;
  /** Without a renewal of the lease, in a process that goes on as if it led: more than the lease, and than an orderly end takes. */
  readonly unrenewedMs: number;
}

export const HEALTH_BOUNDS: HealthBounds = { disconnectedMs: 60_000, stuckMs: 600_000, unrenewedMs: 45_000 };

/** How a cache fares. */
export interface CacheHealth {
  readonly resource: string;
  readonly state: ReflectorState;
}

/** How a queue fares. */
export interface QueueHealth {
  readonly name: string;
  readonly queue: { readonly stuckMs: number };
}

/** Why a controller is not ready, with the remedy; `undefined` where it is. Pure. */
export function notReady(caches: readonly CacheHealth[], { disconnectedMs }: HealthBounds, nowMs: number): string | undefined {
  const empty = caches.filter((c) => !c.state.synced);
  if (empty.length > 0) {
    const error = empty.find((c) => c.state.lastError !== undefined)?.state.lastError;
    const what = `the caches of ${names(empty)} are not filled yet`;
    return `${what}${error === undefined ? "" : ` (${error})`}: is the API server reachable, and the RBAC applied?`;
  }
  const sinceMs = (c: CacheHealth) => nowMs - (c.state.disconnectedSinceMs ?? nowMs);
  const old = caches.filter((c) => sinceMs(c) >= disconnectedMs);
  if (old.length === 0) return undefined;
  const seconds = Math.round(Math.max(...old.map(sinceMs)) / 1000);
  const error = old.find((c) => c.state.lastError !== undefined)?.state.lastError ?? "no answer";
  return `for ${seconds} s the API server has told nothing of ${names(old)} (${error}): is it reachable, and the RBAC applied?`;
}

/** Why a controller should be started anew; `undefined` where it should not. Pure. */
export function notAlive(
  queues: readonly QueueHealth[],
  renewedMs: number | undefined,
  { stuckMs, unrenewedMs }: HealthBounds,
  nowMs: number,
): string | undefined {
  if (renewedMs !== undefined && nowMs - renewedMs >= unrenewedMs)
    return `the lease was renewed ${Math.round((nowMs - renewedMs) / 1000)} s ago, and the process does not end`;
  const stuck = queues.find(({ queue }) => queue.stuckMs >= stuckMs);
  return stuck === undefined
    ? undefined
    : `the queue ${stuck.name} has work, and none of it has ended for ${Math.round(stuck.queue.stuckMs / 1000)} s`;
}

function names(caches: readonly CacheHealth[]): string {
  return [...new Set(caches.map((c) => c.resource))].join(", ");
}
