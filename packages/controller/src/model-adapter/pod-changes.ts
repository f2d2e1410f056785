import type { ModelAdapterStatus } from "@aibrix/api";
import type { EndpointSlice, Log } from "@aibrix/kube";
import { listedIn } from "../endpoints/slices.ts";
import type { CallKind } from "../engines/calls.ts";
import type { ControllerMetrics } from "../metrics.ts";
import { heldRows } from "./rows.ts";
import type { Observed, PodRow } from "./types.ts";

/** What became of an adapter on a pod. `lost`: it is not served there any more, without our doing. */
export interface PodChange {
  readonly kind: "loaded" | "failed" | "unloaded" | "lost";
  readonly pod: string;
  readonly uid: string;
  readonly error: string | undefined;
}

/** What changed on pods between two statuses. Pure. */
export function podChanges(before: ModelAdapterStatus | undefined, after: ModelAdapterStatus): PodChange[] {
  const old = new Map(heldRows(before).map((row) => [row.uid, row]));
  const changes: PodChange[] = [];
  for (const row of heldRows(after)) {
    const kind = changeOf(old.get(row.uid), row);
    if (kind !== undefined) changes.push(change(kind, row));
    old.delete(row.uid);
  }
  for (const row of old.values()) {
    if (row.state === "Draining") changes.push(change("unloaded", row));
    else if (row.state === "Serving") changes.push(change("lost", row));
  }
  return changes;
}

function changeOf(before: PodRow | undefined, after: PodRow): PodChange["kind"] | undefined {
  if (after.state === "Serving") return before?.state === "Serving" ? undefined : "loaded";
  if (after.lastError !== undefined && after.lastError !== before?.lastError && after.state !== "Draining") return "failed";
  return before?.state === "Serving" && after.state === "Pending" ? "lost" : undefined;
}

function change(kind: PodChange["kind"], { name, uid = "", lastError }: PodRow): PodChange {
  return { kind, pod: name, uid, error: kind === "failed" ? lastError : undefined };
}

/** When pods were asked for something that they have not shown yet, by uid, on the steady clock. */
export class Asked {
  readonly #since = new Map<string, { readonly atMs: number; failed: boolean }>();

  /** What is asked again counts from the first time, or from the first one after a failure that was told. */
  begin(kind: CallKind, uid: string): void {
    const key = keyOf(kind === "load" ? "load" : "unload", uid);
    if (this.#since.get(key)?.failed !== false) this.#since.set(key, { atMs: performance.now(), failed: false });
  }

  /** A failure is told: maybe of the call before the one that was just begun. @returns as {@link end} */
  fail(kind: "load" | "unload", uid: string): number | undefined {
    const asked = this.#since.get(keyOf(kind, uid));
    if (asked === undefined || asked.failed) return undefined;
    asked.failed = true;
    return performance.now() - asked.atMs;
  }

  /** @returns for how long it was asked for, in milliseconds; `undefined` where it was not */
  end(kind: "load" | "unload", uid: string): number | undefined {
    const asked = this.#since.get(keyOf(kind, uid));
    this.#since.delete(keyOf(kind, uid));
    return asked === undefined ? undefined : performance.now() - asked.atMs;
  }
}

function keyOf(kind: "load" | "unload", uid: string): string {
  return `${kind} ${uid}`;
}

export interface TellDeps {
  readonly log: Log;
  readonly metrics: Pick<ControllerMetrics, "loaded" | "unloaded">;
}

/** Logs and counts what became of an adapter on its pods. */
export function tellPodChanges(o: Observed, changes: readonly PodChange[], asked: Asked, { log, metrics }: TellDeps): void {
  for (const { kind, pod, uid, error } of changes) {
    const fields = { adapter: o.key, pod: `${o.namespace}/${pod}` };
    const timings = o.pods.find((p) => p.facts.uid === uid)?.view.adapters.get(o.name)?.timings;
    switch (kind) {
      case "loaded": {
        const tookMs = asked.end("load", uid);
        metrics.loaded("ok", tookMs, timings);
        log.info({ ...fields, tookMs: rounded(tookMs), ...timings }, "loaded");
        break;
      }
      case "failed":
        metrics.loaded("failed", asked.fail("load", uid), undefined);
        log.warn({ ...fields, error }, "not loaded");
        break;
      case "unloaded": {
        const tookMs = asked.end("unload", uid);
        metrics.unloaded(tookMs);
        log.info({ ...fields, tookMs: rounded(tookMs) }, "unloaded");
        break;
      }
      case "lost":
        asked.end("load", uid);
        log.warn(fields, "no longer served");
    }
  }
}

/** Logs which pods were taken out of an adapter's slices. */
export function tellTakenOut(o: Observed, after: readonly EndpointSlice[], log: Log): void {
  const listed = listedIn(after);
  for (const uid of listedIn(o.slices)) {
    if (listed.has(uid)) continue;
    const name = o.pods.find((p) => p.facts.uid === uid)?.facts.name ?? o.adapter?.status?.pods?.find((row) => row.uid === uid)?.name;
    log.info({ adapter: o.key, pod: name === undefined ? uid : `${o.namespace}/${name}` }, "taken out of the slices");
  }
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms);
}
