import type { RequestHead } from "../http/request-head.ts";
import type { Answer } from "../openai/errors.ts";
import type { RoutingView } from "../routing/types.ts";

/** Which bodies Envoy sends in pieces of which it keeps no copy (`FULL_DUPLEX_STREAMED`): they have to be given back. */
export interface Duplex {
  readonly request: boolean;
  readonly response: boolean;
}

/** Phases of a request that are acknowledged without a change; Envoy sends them only where it is configured or told to. */
export type OtherPhase = "requestTrailers" | "responseHeaders" | "responseBody" | "responseTrailers";

/** Phases in which a request can be routed: by its headers where Envoy found the model itself, else by its body. */
export type RoutedPhase = "requestHeaders" | "requestBody";

/** What Envoy says about one request, free of the transport. */
export type Message =
  | {
      readonly kind: "requestHeaders";
      readonly head: RequestHead;
      readonly endOfStream: boolean;
      readonly duplex?: Duplex;
      /** Endpoints (`ip:port`) of which one has to be picked; absent where any may be. */
      readonly subset?: readonly string[];
    }
  /** The whole body, or a piece where it is streamed. */
  | { readonly kind: "requestBody" | "responseBody"; readonly body: Buffer; readonly endOfStream: boolean }
  | {
      readonly kind: "responseHeaders";
      /** Of HTTP; `undefined` where it is none. */
      readonly status?: number | undefined;
      /** How often Envoy sent the request, where it says so. */
      readonly attempts?: number | undefined;
    }
  | { readonly kind: Exclude<OtherPhase, "responseBody" | "responseHeaders"> }
  /** Of a kind that this gateway does not know. */
  | { readonly kind: "unknown" };

/** Where a request stands. */
export type RequestState =
  | { readonly phase: "new" }
  /** Passed by its headers; its body says for which model it is. */
  | {
      readonly phase: "body";
      readonly body: "json" | "multipart";
      readonly contentType: string;
      readonly limitBytes: number;
      readonly wanted: Wanted;
    }
  /** For a model that cannot be routed yet; Envoy waits for an answer to the message of this kind. */
  | { readonly phase: "waiting"; readonly on: RoutedPhase; readonly model: string; readonly wanted: Wanted }
  | { readonly phase: "done" };

/** Among which engines a request's model is looked for. */
export interface Wanted {
  /** That the client chose. */
  readonly namespace: string | undefined;
  /** That Envoy's configuration allows (`ip:port`); `undefined` where any may be picked. */
  readonly subset: readonly string[] | undefined;
}

export const NEW_REQUEST: RequestState = { phase: "new" };

/** Of HTTP, `other` for an answer of another content's engine, `undefined` for none. */
export type AnswerStatus = number | "other" | undefined;

export type Version = "stable" | "canary";

/** Learns from the heads of answers whether Envoy tells how often it sent a request. */
export class Attempts {
  #told = false;

  get told(): boolean {
    return this.#told;
  }

  /** @param status - of the answer: one that only an engine gives shows an Envoy that does not tell */
  onAnswer(status: number | undefined, attempts: number | undefined): void {
    if (attempts !== undefined) this.#told = true;
    else if (status !== undefined && status >= 200 && status < 300) this.#told = false;
  }
}

/** Whose content is on trial, and which one serves a request. */
export interface Trial {
  readonly model: string;
  /** The model's; empty where names have none. */
  readonly namespace: string;
  readonly version: Version;
  /** How many of the destinations, the first ones, have its content; all where this is absent. */
  readonly own?: number;
}

/** What to tell Envoy. */
export type Reply =
  | { readonly kind: "continue"; readonly phase: RoutedPhase | OtherPhase }
  /** The headers are well; now the body is wanted. */
  | { readonly kind: "readBody" }
  /** Sends the request to these addresses (`ip:port`), in this order. */
  | {
      readonly kind: "route";
      readonly phase: RoutedPhase;
      readonly model: string;
      readonly destinations: readonly string[];
      /** Set while a content of the model is on trial. */
      readonly trial?: Trial | undefined;
    }
  /** Of a request that names a model: that, and the message in which it did. */
  | { readonly kind: "answer"; readonly answer: Answer; readonly model?: string; readonly phase?: RoutedPhase };

/** What the stream does after a step. */
export type Effect =
  | { readonly kind: "reply"; readonly reply: Reply }
  /** Looks up again at every change of the routes, and a last time after a while. */
  | { readonly kind: "wait" }
  | { readonly kind: "none" };

/** What the phases need of the world. */
export interface PhaseDeps {
  readonly routes: RoutingView;
  /** Turns candidates into the list of destinations; `others` are for the last of Envoy's retries. */
  readonly pick: (addresses: readonly string[], others?: readonly string[]) => readonly string[];
  /** Whether a request is one of so many of a hundred. */
  readonly inCanary: (weight: number) => boolean;
  /** Whether Envoy says how often it sent a request, so that an answer of the other content is known as that. Absent: it does not. */
  readonly attempts?: Attempts;
}

/** The next state, and what to do. */
export type Step = readonly [RequestState, Effect];

const DONE: RequestState = { phase: "done" };

/** Ends the request with an answer of the gateway's own. */
export function answer(answer: Answer, named: { readonly model?: string; readonly phase?: RoutedPhase } = {}): Step {
  return [DONE, { kind: "reply", reply: { kind: "answer", answer, ...named } }];
}

/** Ends the gateway's part: Envoy goes on to the engine. */
export function route(phase: RoutedPhase, model: string, destinations: readonly string[], trial?: Trial): Step {
  return [DONE, { kind: "reply", reply: { kind: "route", phase, model, destinations, trial } }];
}

/** Acknowledges a phase. */
export function proceed(state: RequestState, phase: RoutedPhase | OtherPhase): Step {
  return [state, { kind: "reply", reply: { kind: "continue", phase } }];
}

/** Asks for the body. */
export function readBody(state: RequestState & { readonly phase: "body" }): Step {
  return [state, { kind: "reply", reply: { kind: "readBody" } }];
}
