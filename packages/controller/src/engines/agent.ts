import type { AdapterState, ContentRef, Reason, SmokeCheck } from "@aibrix/api";
import type { Delivery } from "../pods/delivery.ts";

/** One adapter on one pod, as whoever runs there answered. */
export interface AdapterView {
  readonly name: string;
  readonly state: AdapterState;
  /** Something answers under this name now; it may be older content than the declared one. Not what an engine without sidecar only lists so far. */
  readonly serving: boolean;
  /** A base model has this name. */
  readonly base: boolean;
  /**
   * Whether it came by our calls; `undefined` where the pod cannot tell (an engine without sidecar). `unsaid`: a call without an owner, perhaps
   * ours of before owners were told: what was written down decides.
   */
  readonly own: boolean | "unsaid" | undefined;
  /** Who declared it to the sidecar, where a call said so. */
  readonly owner?: string | undefined;
  /** A manifest in the sidecar's folder declared it. */
  readonly manifest?: boolean | undefined;
  /** What was declared to the sidecar. */
  readonly artifactUrl: string | undefined;
  /** Where the engine says its weights come from. */
  readonly root: string | undefined;
  readonly contentDigest: string | undefined;
  readonly attempts: number;
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly retryable: boolean;
  readonly nextRetryTime: string | undefined;
  /** Digest of what is declared, once it is there; what serves may be older. */
  readonly declaredDigest?: string | undefined;
  /** The commit that its reference led to. */
  readonly revision?: string | undefined;
  /** What is declared waits for requests of what serves, for the engine has no room for both. */
  readonly waits?: boolean | undefined;
  /** What served was given up for other content, and that, or it again, is about to be in its place. */
  readonly swapping?: boolean | undefined;
  /** What comes next, as far as it is there. */
  readonly prepared?: PreparedView | undefined;
  /** The highest rank of any of its modules, where a sidecar has read its files. */
  readonly maxRank?: number | undefined;
  /** How long its last download and its last load took there, in milliseconds. */
  readonly timings?: { readonly downloadMs: number | undefined; readonly loadMs: number | undefined } | undefined;
}

/** Content that a sidecar fetches and checks beside what serves. */
export interface PreparedView {
  readonly artifactUrl: string;
  readonly refresh: string | undefined;
  readonly state: "Downloading" | "Checking" | "Ready" | "Failed";
  /** How many prompts it answers before it is Ready. */
  readonly checks?: number | undefined;
  readonly contentDigest: string | undefined;
  readonly revision: string | undefined;
  readonly attempts: number;
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly retryable: boolean;
  readonly nextRetryTime: string | undefined;
}

/** What is known of an engine's limits, by its metrics or by its sidecar's flags. */
export interface EngineLimits {
  readonly maxLoras: number | undefined;
  readonly maxCpuLoras: number | undefined;
  readonly maxLoraRank: number | undefined;
}

/** What is known of a pod's adapters. */
export interface PodView {
  /**
   * `awaited`: nobody was asked yet, or has not answered so far; `fresh`: as it is, or was some seconds ago; `lost`: no answer for
   * {@link LOST_AFTER_MS}.
   */
  readonly knowledge: "awaited" | "fresh" | "lost";
  /** Why there is no fresh knowledge, with what to look at. */
  readonly problem: string | undefined;
  /** Set where somebody answered, and what was answered stays so until an edit: a wrong key for example. */
  readonly problemReason: Reason | undefined;
  /** Since when nothing is known any more, in milliseconds since the epoch; `undefined` while something is, or nobody was asked. */
  readonly lostSinceMs: number | undefined;
  /** Changes when the sidecar's process does. */
  readonly instance: string | undefined;
  /** An engine without sidecar was seen not to run since somebody looks: whatever it was asked for before is void. */
  readonly reborn: boolean;
  readonly engineReady: boolean;
  readonly engineMessage: string | undefined;
  /** Limits that a sidecar tells, or an engine's metrics. */
  readonly engineLimits?: EngineLimits | undefined;
  /** `false`: its sidecar is of an earlier release, and cannot fetch content beside what serves. */
  readonly prepares?: boolean | undefined;
  /** May change later: who decides by it takes what it needs at once. */
  readonly adapters: ReadonlyMap<string, AdapterView>;
}

/** How long what a pod said last is believed when it says no more, in milliseconds. */
export const LOST_AFTER_MS = 15_000;

/** That an adapter should be served. Holds secrets: never logged. */
export interface LoadCall {
  readonly name: string;
  readonly artifactUrl: string;
  readonly delivery: Delivery;
  readonly credentials: Readonly<Record<string, string>> | undefined;
  /** Hosts that the credentials may be sent to, where their Secret names some. */
  readonly credentialsHosts?: readonly string[] | undefined;
  readonly apiKey: string | undefined;
  /** Who declares it: for the sidecar, which keeps it from anybody else. */
  readonly owner: string;
  /** It is ours already, from before owners were told. */
  readonly adopt: boolean;
  /** `off`: it serves once the engine lists it. Else, after a first load, once the engine has answered a request under its name. */
  readonly probe: "auto" | "off";
  /** The highest rank that the engine takes, where it is known. */
  readonly maxLoraRank: number | undefined;
  /** Exactly this content, of all that its URL may lead to in time. */
  readonly content?: ContentRef | undefined;
  /** Sidecars of other pods that have that content, for a source that does not give it any more. */
  readonly peers?: readonly string[] | undefined;
  /** How long requests of older content may go on there first, where nobody is sent there any more. For sidecars. */
  readonly drainSeconds?: number | undefined;
  /** Names a request for another look at the reference. */
  readonly refresh?: string | undefined;
  /** Key and credentials are to be tried, also where the content is there. Of a prepare call. */
  readonly proves?: boolean | undefined;
  /** What the content has to answer as expected before it is taken. Of a prepare call. */
  readonly checks?: readonly SmokeCheck[] | undefined;
  /** Without the API key. */
  readonly additionalConfig: Readonly<Record<string, string>>;
}

/** That an adapter should no longer be served. */
export interface UnloadCall {
  readonly name: string;
  readonly apiKey: string | undefined;
  /** Who declared it, as far as the sidecar was told. */
  readonly owner: string | undefined;
  /** Its files are of no more use there: it is deleted. Else it may come back, and finds them where they had to make no room. */
  readonly cleanup: boolean;
  /** Only where its weights come from one of these; whatever there is under the name where absent. For engines without sidecar. */
  readonly roots?: readonly string[] | undefined;
  /** This very adapter has answered there before: what is loaded under its name next is not asked for an answer. For engines without sidecar. */
  readonly answered?: boolean;
  /**
   * Other content is loaded under the name at once, and requests go on to come: they need not end where the engine has slots for both contents
   * besides what runs. For engines without sidecar.
   */
  readonly swaps?: boolean;
  /** How long requests that run or wait may go on first. */
  readonly graceSeconds: number;
}

/** How to reach what runs on a pod. Calls throw {@link CallError}. */
export interface PodAgent {
  readonly via: "sidecar" | "direct";
  readonly view: PodView;
  load(call: LoadCall, signal: AbortSignal): Promise<void>;
  /** Has content fetched and checked that is to be served next; what serves is not touched. An engine without sidecar is only asked whether it takes the key. */
  prepare(call: LoadCall, signal: AbortSignal): Promise<void>;
  /**
   * Takes an adapter away; one that is not there is no error.
   *
   * @param cancelled - ends the wait for requests with a {@link CallCancelled}, where it is here that one waits
   */
  unload(call: UnloadCall, signal: AbortSignal, cancelled?: AbortSignal): Promise<void>;
  /** Takes an adapter away for good, and returns once it is gone: the other kind of agent is going to load it. */
  release(call: UnloadCall, signal: AbortSignal): Promise<void>;
  /** Looks now, where nothing tells of changes by itself. */
  refresh(signal: AbortSignal): Promise<void>;
  /** What was seen may no longer be so, the engine may be another one: it is believed again once it was looked at anew. */
  doubt(problem: string): void;
  /** Says that somebody wants to know about this adapter, and with which key to ask. */
  follow(name: string, apiKey: string | undefined): void;
  unfollow(name: string): void;
  /** Keeps {@link view} true until the signal aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

/** A call to a pod that did not do what was asked. The message names cause and remedy, and no secret. */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly reason: Reason;
  /** Whether the same call may succeed later by itself. */
  readonly retryable: boolean;

  constructor(reason: Reason, message: string, options: { readonly retryable: boolean; readonly cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.reason = reason;
    this.retryable = options.retryable;
  }
}

/** A call that was not wanted any more ended before it did anything. */
export class CallCancelled extends Error {
  override readonly name = "CallCancelled";

  constructor() {
    super("the call is not wanted any more");
  }
}

/** Turns the address of a pod into a URL without a slash at the end. */
export type Connect = (ip: string, port: number) => string;

/** The pod's own address. */
export const connectDirectly: Connect = (ip, port) => `http://${ip.includes(":") ? `[${ip}]` : ip}:${port}`;

export const NOTHING_KNOWN: PodView = {
  knowledge: "awaited",
  problem: undefined,
  problemReason: undefined,
  lostSinceMs: undefined,
  instance: undefined,
  reborn: false,
  engineReady: false,
  engineMessage: undefined,
  adapters: new Map(),
};

/** The same, no longer believed. */
export function lostView(view: PodView, problem: string, problemReason?: Reason): PodView {
  return { ...view, knowledge: "lost", lostSinceMs: view.lostSinceMs ?? Date.now(), problem, problemReason };
}
