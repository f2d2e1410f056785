import { HEADER_MODEL_NAMESPACE, LABEL_MODEL_NAME, type ModelAdapterStatus } from "@aibrix/api";
import type { NewCondition, NewEvent } from "@aibrix/kube";
import type { Obstacle } from "../model-adapter/types.ts";
import type { Holder, NameFacts } from "./holders.ts";

/** Pods that a message names one by one. */
const MAX_NAMED = 3;
const NAME_HELD = "NameHeld";

/** Why an adapter may not be served at all: its name is a base model's, beside which it would never be reached. Pure. */
export function nameObstacle(name: string, { basePods }: NameFacts): Obstacle | undefined {
  if (basePods.length === 0) return undefined;
  const more = basePods.length > MAX_NAMED ? ` and ${basePods.length - MAX_NAMED} more` : "";
  const pods = basePods.slice(0, MAX_NAMED).join(", ") + more;
  const message = `${name} is the name of a base model of this namespace (label ${LABEL_MODEL_NAME} of ${pods}): give the adapter another name`;
  return { reason: "NameIsBaseModel", message, final: true };
}

/** Says that the plain name answers for somebody else; nothing where there is nothing to say. Pure. */
export function nameCondition(name: string, namespace: string, { heldBy }: NameFacts): NewCondition | undefined {
  if (heldBy === undefined) return undefined;
  const message = `the name ${name} alone means ${inWords(name, heldBy)}, which is older: to reach this adapter, send the header ${HEADER_MODEL_NAMESPACE}: ${namespace}`;
  return { type: NAME_HELD, status: "False", reason: "NameHeldElsewhere", message };
}

/** The event of a name that somebody else holds from now on. Pure. */
export function nameEvents(before: ModelAdapterStatus | undefined, after: ModelAdapterStatus): NewEvent[] {
  const held = (s: ModelAdapterStatus | undefined) => s?.conditions?.find((c) => c.type === NAME_HELD)?.message;
  const note = held(after);
  if (note === undefined || note === held(before)) return [];
  return [{ type: "Warning", reason: "NameHeldElsewhere", action: "Publish", note }];
}

/** The event of a base model that the adapter keeps from its plain name: it has no status of its own to say so in. Pure. */
export function baseBehindEvent(name: string, base: string): NewEvent {
  const note = `the name ${name} alone means this adapter, which is older than the base model of that name in the namespace ${base}: to reach that, clients send the header ${HEADER_MODEL_NAMESPACE}: ${base}`;
  return { type: "Warning", reason: "NameHeldElsewhere", action: "Publish", note };
}

function inWords(name: string, { kind, namespace }: Holder): string {
  return kind === "adapter" ? `the ModelAdapter ${namespace}/${name}` : `the base model of that name in the namespace ${namespace}`;
}
