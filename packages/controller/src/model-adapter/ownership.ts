import { ownerOf, type Reason } from "@aibrix/api";
import type { AdapterView } from "../engines/agent.ts";
import type { ModelAdapterObject, ObservedPod, PodRow, Refusal } from "./types.ts";

/** Who a ModelAdapter is to the sidecars that it is declared to. */
export function declaredBy({ metadata: { namespace = "", name, uid = "" } }: Pick<ModelAdapterObject, "metadata">): string {
  return ownerOf(namespace, name, uid);
}

/** Whether a sidecar's row says that it has taken the adapter up for us. */
export function toldTaken(row: PodRow | undefined): boolean {
  // Only a sidecar tells a digest: rows of before it was written down.
  return row?.taken === true || (row?.contentDigest !== undefined && row.asked !== true);
}

/** Whether what a sidecar has is there by our calls. */
export function isOurs(entry: AdapterView, row: PodRow | undefined, { call: { failure } }: Pick<ObservedPod, "call">): boolean {
  if (entry.own !== "unsaid") return entry.own === true;
  return toldTaken(row) && !(failure?.kind === "load" && failure.reason === "NotOurs");
}

/** Whether what a sidecar has is declared by this very object, or by a sidecar of before that does not tell. */
export function isDeclaredBy(entry: AdapterView, adapter: ModelAdapterObject | undefined): boolean {
  if (entry.own === "unsaid") return false;
  return entry.owner === undefined || (adapter !== undefined && entry.owner === declaredBy(adapter));
}

/** Whose it is where it is not ours, and what to do. */
export function whose({ owner, manifest }: AdapterView): { readonly reason: Reason; readonly message: string } {
  if (manifest === true)
    return {
      reason: "NameConflict",
      message: "the pod's sidecar has an adapter of this name from a manifest in its folder: remove that, or give this one another name",
    };
  if (owner === undefined)
    return {
      reason: "NameConflict",
      message:
        "the pod's sidecar has an adapter of this name that was loaded by hand (POST /v1/lora_adapter/load): unload it there (POST /v1/lora_adapter/unload), or give this one another name",
    };
  return {
    reason: "NotOurs",
    message: `the pod's sidecar has an adapter of this name that ${owner} declared: have it taken away there, or give this one another name`,
  };
}

/** Whether a refusal is read from what the pod has, not from its answer to a call. */
export function isSeen({ reason }: Refusal): boolean {
  return reason === "NameConflict" || reason === "NotOurs";
}
