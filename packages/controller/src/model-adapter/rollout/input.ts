import type { Reason } from "@aibrix/api";
import type { PodView } from "../../engines/agent.ts";
import type { CallFailure, CallState } from "../../engines/calls.ts";
import type { Delivery } from "../../pods/delivery.ts";
import type { Health } from "../canary.ts";
import type { Content, Served, Trials, Update } from "../contents.ts";
import type { ModelAdapterObject } from "../types.ts";

/** What of a pod bears on it. */
export interface RolloutPod {
  readonly uid: string;
  readonly name: string;
  /** It is to have the adapter, and does not end. */
  readonly takesPart: boolean;
  /** It is being deleted, or has ended. */
  readonly ends: boolean;
  readonly ready: boolean;
  /** It has served the adapter before. */
  readonly hasServed: boolean;
  /** In the adapter's slices. */
  readonly listed: boolean;
  /** There as one that has a content on trial. */
  readonly onTrial: boolean;
  /** Somebody could answer there: a pod that waits for a node has none. */
  readonly hasAddress: boolean;
  readonly via: "sidecar" | "direct";
  readonly view: PodView;
  readonly call: CallState;
  /** How often its engine's container was started anew. */
  readonly engineRestarts: number;
  /** Its engine lists the adapter, but not by our doing, or has not answered under its name yet. */
  readonly doubtful: boolean;
  /** How it would get a content. */
  readonly delivery: (content: Content) => Delivery;
  /** Whether a call that failed asked for this content. */
  readonly isOf: (failure: CallFailure, content: Content) => boolean;
  /** Whether its engine, which has no sidecar, has taken the key that belongs to a content. */
  readonly takesKey: (content: Content) => boolean;
  /** Whether its sidecar, as it runs now, has what belongs to a content and is written down nowhere: keys and credentials. */
  readonly hasSecrets: (content: Content) => boolean;
}

/** What a rollout is decided by. */
export interface RolloutInput {
  readonly name: string;
  readonly adapter: ModelAdapterObject | undefined;
  readonly pods: readonly RolloutPod[];
  /** Version of the Secrets in use. */
  readonly secrets: string;
  /** What the secrets that are declared now are called, see `secrets.ts`; `undefined` where none are. */
  readonly secretsName?: string | undefined;
  readonly secretTrouble: { readonly reason: Reason; readonly message: string } | undefined;
  /** What the gateways counted in a step, by the step's name. */
  readonly health?: ((step: string) => Health | undefined) | undefined;
  /** What was seen so far of the pods that have the content on its way. */
  readonly trials?: Trials | undefined;
  readonly nowMs: number;
}

/** Why an update failed, or what it waits for. */
export interface Why {
  readonly reason: Reason;
  readonly message: string;
}

/** How far it was at the end of the turn before. */
export interface Before {
  readonly served: Served | undefined;
  readonly update: Update | undefined;
}
