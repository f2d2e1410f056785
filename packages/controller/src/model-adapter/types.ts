import { MODEL_ADAPTER_RESOURCE, type ModelAdapterSpec, type ModelAdapterStatus, type Reason } from "@aibrix/api";
import type { EndpointSlice, KubeObject, Resource, Service } from "@aibrix/kube";
import type { SliceChanges } from "../endpoints/slices.ts";
import type { PodView } from "../engines/agent.ts";
import type { CallState } from "../engines/calls.ts";
import type { Leftover } from "../leftovers/leftovers.ts";
import type { NameFacts } from "../names/holders.ts";
import type { Delivery } from "../pods/delivery.ts";
import type { PodFacts } from "../pods/facts.ts";
import type { LoraLimits } from "../pods/limits.ts";
import type { Content, Rollout } from "./contents.ts";

/** A ModelAdapter as the API server has it. */
export interface ModelAdapterObject extends KubeObject {
  readonly spec: ModelAdapterSpec;
  readonly status?: ModelAdapterStatus;
}

/** What the status says about one pod. */
export type PodRow = NonNullable<ModelAdapterStatus["pods"]>[number];

export const MODEL_ADAPTERS: Resource<ModelAdapterObject> = MODEL_ADAPTER_RESOURCE;

/** A pod that matches the selector, or that had the adapter. */
export interface ObservedPod {
  readonly facts: PodFacts;
  /** The selector selects it, and it does not opt out. */
  readonly matches: boolean;
  readonly via: "sidecar" | "direct";
  /** What it is to have, by what is decided so far. */
  readonly content: Content;
  /** Whether that is what the spec declares now. */
  readonly current: boolean;
  /** Nobody is sent there while its content is swapped: other pods serve, or requests are held. */
  readonly unrouted: boolean;
  /** No other pod serves. */
  readonly alone: boolean;
  /** What it serves is decided on, or it keeps its place until its turn has come. */
  readonly decided: boolean;
  /** How many of a hundred requests the gateway sends to it and its like, of a content on trial. */
  readonly weight: number | undefined;
  /** What it should fetch and check beside what it has. */
  readonly prepare:
    | {
        readonly content: Content;
        readonly delivery: Delivery;
        readonly fingerprint: string;
        /** And have answer the prompts of the spec. */
        readonly checks: boolean;
      }
    | undefined;
  readonly delivery: Delivery;
  readonly port: number;
  readonly limits: LoraLimits;
  /** Other adapters that are placed on it. */
  readonly load: number;
  readonly view: PodView;
  readonly call: CallState;
  /** Why it refused what would be asked of it now, for a reason of its own, though it may not be asked at present. */
  readonly refusal: Refusal | undefined;
  /** What an adapter of this name that was deleted may have left in its engine. */
  readonly left: ObservedLeftover | undefined;
  /** Labels of the adapter that say how its engine is reached. */
  readonly adapterLabels: Readonly<Record<string, string>>;
  /** Where other pods ask its sidecar for contents; `undefined` where it gives none. */
  readonly contentsUrl?: string | undefined;
  /** Of what would be asked of it now. */
  readonly fingerprint: string;
  /** The same, with the run of the engine that it would be asked of: a new one may take what the one before it refused. */
  readonly refusalFingerprint: string;
}

/** See {@link Leftover}. */
export interface ObservedLeftover extends Leftover {
  /** When it is believed to be gone, though it may have been loading, in milliseconds since the epoch. */
  readonly goneAtMs: number | undefined;
}

/** Why a pod does not take an adapter that other pods may take. */
export interface Refusal {
  readonly reason: Reason;
  readonly message: string;
}

/** A Secret that the adapter names, and could not be had. */
export interface SecretTrouble {
  readonly reason: "SecretNotFound" | "SecretForbidden" | "SecretUnavailable";
  readonly message: string;
}

/** The Service of the adapter's name. */
export type ObservedService =
  | { readonly kind: "missing" }
  /** Ours, of an earlier adapter of this name; the garbage collector has not come to it yet. */
  | { readonly kind: "orphan"; readonly uid: string | undefined }
  | { readonly kind: "ours"; readonly service: Service }
  | { readonly kind: "foreign"; readonly owner: string };

/** Everything that decides about one ModelAdapter. */
export interface Observed {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** `undefined` once it is gone. */
  readonly adapter: ModelAdapterObject | undefined;
  readonly pods: readonly ObservedPod[];
  /** Which content is decided on, and which one is on its way. */
  readonly rollout: Rollout;
  /** Names of the pods that it was placed on. */
  readonly placed: readonly string[];
  /** Why a Secret could not be had; `undefined`: all are there. */
  readonly secretTrouble: SecretTrouble | undefined;
  readonly usesSecrets: boolean;
  readonly names: NameFacts;
  /** Whether an engine has to answer a request after a first load, before the pod counts as serving. */
  readonly probe: "auto" | "off";
  /** Clients may reach the adapter by an HTTPRoute too, which knows nothing of a canary's weights. */
  readonly httpRoutes?: boolean;
  readonly service: ObservedService;
  readonly slices: readonly EndpointSlice[];
  /** Why the Service or the slices could not be written; `undefined` where they were, or nothing had to be. */
  readonly unwritten: string | undefined;
  readonly bounds: Bounds;
  readonly nowMs: number;
}

/** How long things may take, in milliseconds. */
export interface Bounds {
  /** How long a pod or an API server that does not do its part may hold up a deletion. */
  readonly deletionMs: number;
  /** How long requests may go on before an adapter leaves a pod; at a deletion see {@link deletionDrainMs}. */
  readonly drainMs: number;
  /**
   * How long an engine without sidecar is given to show a load that an earlier process asked for, before it is asked again. Nobody knows whether
   * that call ever came there. Where it did, and the load is a long download, the engine (vLLM) refuses the second one once the first is done.
   */
  readonly directLoadMs: number;
  /** How long a pod of which nothing is known keeps its adapters where another pod could take them. */
  readonly lostMs: number;
}

/** What an unload itself may take, once requests have ended. */
const UNLOAD_MS = 5_000;

/** @param graceMs - how long requests may go on before an adapter is unloaded, and a deletion may be held up */
export function boundsOf(graceMs: number): Bounds {
  return { deletionMs: Math.max(graceMs, UNLOAD_MS), drainMs: graceMs, directLoadMs: 60_000, lostMs: 60_000 };
}

/** How long requests may go on after a deletion, in milliseconds: what the unload may take is left of the bound, of a short one half. */
export function deletionDrainMs({ deletionMs, drainMs }: Bounds): number {
  return Math.min(drainMs, deletionMs - Math.min(UNLOAD_MS, deletionMs / 2));
}

export const BOUNDS: Bounds = boundsOf(30_000);

export type Action =
  | { readonly kind: "addFinalizer" }
  /**
   * `overdue`: the time that pods, and the API server, may hold a deletion up is over. `leftOn`: names of the pods that may have the adapter
   * still.
   */
  | { readonly kind: "removeFinalizer"; readonly overdue: boolean; readonly leftOn: readonly string[] }
  | { readonly kind: "ensureService"; readonly service: Service }
  | { readonly kind: "deleteService" }
  /** `shrink`: what of the changes takes pods out, and adds none; for a Service that could not be made. */
  | { readonly kind: "writeSlices"; readonly changes: SliceChanges; readonly shrink: SliceChanges }
  | { readonly kind: "load"; readonly pod: ObservedPod }
  /** New content is fetched and checked beside what serves. */
  | { readonly kind: "prepare"; readonly pod: ObservedPod }
  /** `swap`: it is loaded there again at once, and new requests come until then: those that run are waited for only where the engine has no room. */
  | { readonly kind: "unload"; readonly pod: ObservedPod; readonly swap: boolean }
  /** An unload that waits there for requests is not wanted any more, or may not wait as long. */
  | { readonly kind: "cancel"; readonly pod: ObservedPod }
  /** It was loaded the other way: by the sidecar before `--enable-runtime-sidecar` was removed, or by us before it was set. */
  | { readonly kind: "release"; readonly pod: ObservedPod };

/** Something that keeps the adapter from being placed or published. */
export interface Obstacle {
  readonly reason: Reason;
  readonly message: string;
  /** Waits for somebody's edit. */
  readonly final: boolean;
}

/** A pod that had the adapter, did not serve it, and gave its replica to another one. */
export interface Replaced {
  readonly pod: string;
  readonly why: string;
}

/** What to do. */
export interface Plan {
  readonly actions: readonly Action[];
  /** Names of the pods that should have the adapter. */
  readonly placed: readonly string[];
  /** Names of the pods that no longer should, and may still have it. */
  readonly leaving: readonly string[];
  /** What to say about pods that the adapter is not on. */
  readonly note: string | undefined;
  /** Pods that had the adapter and gave their replica to another one. */
  readonly replaced: readonly Replaced[];
  readonly obstacle: Obstacle | undefined;
  /** Decide again after so many milliseconds, even if nothing happens. */
  readonly requeueAfterMs: number | undefined;
}
