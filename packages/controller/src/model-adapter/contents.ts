import type { ArtifactUrlError, ModelAdapterStatus, Reason } from "@aibrix/api";
import type { Canary } from "./canary.ts";

/** A content, as far as it is decided which one it is. */
export interface Content {
  /** With its pin; or what is wrong with it. */
  readonly url: string | ArtifactUrlError;
  /** At which request for another look its reference is resolved. */
  readonly refresh: string | undefined;
  /** With which credentials and which key it is had, see `rollout/secrets.ts`; `undefined` without any. */
  readonly secrets?: string | undefined;
  /** Exactly this one, of all that the URL may lead to in time. */
  readonly digest: string | undefined;
  readonly revision: string | undefined;
  /** Another look is asked for at a reference that pods may have been given before: only a digest tells the two contents apart. */
  readonly isRefresh?: boolean;
  /** It is what is served, with other credentials or another key, which are tried before they are used. */
  readonly proves?: boolean;
  /** The same, and its reference is not resolved anew for that. */
  readonly isCheck?: boolean;
  /** Names this asking for it, so that the outcome of an earlier one is not taken for it. */
  readonly ask?: string;
}

/** What was decided on, and is served. */
export interface Served extends Content {
  readonly url: string;
  readonly resolvedMs: number;
}

export type UpdateState = NonNullable<ModelAdapterStatus["update"]>["state"];

/** New content on its way. */
export interface Update {
  readonly content: Content;
  readonly state: UpdateState;
  readonly fingerprint: string;
  readonly startMs: number;
  /** Why it failed, or what it waits for. */
  readonly reason: Reason | undefined;
  readonly message: string | undefined;
  /** Only time asked for it, or a Secret that has changed: there is nothing to tell before it leads to something else. */
  readonly byClock: boolean;
  /** Where it is, of a content that some pods get first; once it has failed, with weight 0. */
  readonly canary: Canary | undefined;
}

/** What a pod is told. */
export interface PodPlan {
  readonly content: Content;
  /** Whether that is what the spec declares now. */
  readonly current: boolean;
  /** Nobody is sent there, because its content is being swapped: others serve, or requests are held. */
  readonly unrouted: boolean;
  /** No other pod serves: who is not sent there waits at the gateway. */
  readonly alone: boolean;
  /** What it serves is decided on, or it keeps its place until its turn has come. */
  readonly decided: boolean;
  /** What it should fetch and check beside what it has. */
  readonly prepare: Content | undefined;
  /** And have answer the prompts of the spec: one pod does for all. */
  readonly checks: boolean;
  /** How many of a hundred requests the gateway sends to it and its like; `undefined`: it gets its part of all others. */
  readonly weight: number | undefined;
}

/** Values of annotations that were acted on. */
export interface Handled {
  readonly promote: string | undefined;
  readonly abort: string | undefined;
}

/** What was seen of the pods that were given the content on its way. */
export interface Trials {
  /** When that update began, in milliseconds since the epoch. */
  readonly startMs: number;
  /** By uid, of pods that were given it. */
  readonly pods: ReadonlyMap<string, Trial>;
}

/** What was seen of a pod that was given new content. */
export interface Trial {
  /** How often its engine had been started anew by then. */
  readonly restarts: number;
  /** It has served the content since. */
  readonly served: boolean;
}

export interface Rollout {
  /** What is decided on; `undefined` before anything was served. */
  readonly served: Served | undefined;
  /** An update that goes on, or has failed. */
  readonly update: Update | undefined;
  /** By uid. */
  readonly pods: ReadonlyMap<string, PodPlan>;
  /** When time alone asks for another look at the reference, in milliseconds since the epoch. */
  readonly againAtMs: number | undefined;
  /** Every pod that clients may be sent to serves what is decided on. */
  readonly isEverywhere: boolean;
  /** A pod serves the adapter, or has not been heard since it did. */
  readonly isAnywhere: boolean;
  readonly handled: Handled;
  /** To be remembered for the next turn. */
  readonly trials: Trials | undefined;
}
