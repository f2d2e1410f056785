import type { RequestHead } from "../http/request-head.ts";
import { tooManyBodies } from "../openai/errors.ts";
import { isSwapping, onRoutesChanged } from "../phases/look-up.ts";
import { step } from "../phases/step.ts";
import {
  type AnswerStatus,
  answer,
  type Effect,
  type Message,
  NEW_REQUEST,
  type PhaseDeps,
  type Reply,
  type RequestState,
  type Step,
  type Trial,
} from "../phases/types.ts";
import type { Left, RequestRecord } from "../requests.ts";
import { encodeReply, encodeRouteWithBody } from "./codec.ts";
import type { HeldBytes } from "./held-body.ts";
import type { Hold, Holds } from "./holds.ts";
import { Relay } from "./relay.ts";
import { readRequest } from "./request-reader.ts";
import { GRPC_STATUS } from "./status.ts";
import { StreamedBody } from "./streamed-body.ts";
import type { GrpcHandler, GrpcStream } from "./transport.ts";
import type { Watches } from "./watches.ts";

/** How long a model that cannot be routed is looked up again before it is refused, in milliseconds. */
const LOOKUP_WAIT_MS = 300;

/** What a body counts for that is not here and whose length nobody has told, in bytes: the most that it may have. */
const UNKNOWN_BODY_BYTES = 16 * 1024 * 1024;

/** How a request was answered, as Envoy tells it. */
interface Outcome {
  readonly status?: number | undefined;
  readonly attempts?: number | undefined;
}

/** What a stream needs of the program. */
export interface StreamDeps extends PhaseDeps {
  /** Calls back at every change of the routes until the returned function is called. */
  readonly onRoutesChange: (callback: () => void) => () => void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Told once per request what came of it; may give headers for the engine. */
  readonly onDone: (record: RequestRecord) => Readonly<Record<string, string>> | undefined;
  /** How long a request may wait, in all, while the one engine that serves its adapter swaps its content, in milliseconds. */
  readonly updateHoldMs: number;
  /** Told how a wait for a model ended; `no_room` where it was too short because too many requests wait. */
  readonly onWaited: (result: "found" | "given_up" | "aborted" | "no_room") => void;
  /**
   * Told how a request was answered whose model has a content on trial.
   *
   * @param status - that the client gets; `undefined` where the request ended before, `other` where an engine of the other content answered
   * @param afterMs - since the decision
   */
  readonly onAnswered: (trial: Trial, status: AnswerStatus, afterMs: number) => void;
  /** Told of a defect; the stream ends with an error. */
  readonly onDefect: (error: unknown) => void;
}

/** What all streams of a server share. */
export interface SharedByStreams {
  /** What bodies may have of memory that come in pieces. */
  readonly bodies: HeldBytes;
  readonly watches: Watches;
  readonly holds: Holds;
}

/** One request of Envoy's: a loop around the phases. It holds nothing once the stream has ended, however it ended. */
export class RequestStream implements GrpcHandler {
  readonly #stream: GrpcStream;
  readonly #deps: StreamDeps;
  readonly #shared: SharedByStreams;
  readonly #startedMs: number;
  #waitedMs = 0;
  #head: RequestHead | undefined;
  #state: RequestState = NEW_REQUEST;
  #ended = false;
  #halfClosed = false;
  /** Ends the wait for a model, and counts its time. */
  #stopWaiting: (() => void) | undefined;
  /** Of a request whose body Envoy sends in pieces without keeping them. */
  #body: StreamedBody | undefined;
  /** Of a body that came in one piece, and that Envoy keeps. */
  #bodyLength: number | undefined;
  /** Gives an answer's pieces back, where Envoy sends them without keeping them. */
  #response: Relay | undefined;
  /** Whether the stream is held up until Envoy has taken a piece of the answer. */
  #responseWaits = false;
  /** Whether trailers ended the body. */
  #trailers = false;
  /** Whether Envoy was told, when the body was asked for, to send the head of the answer too. */
  #asked = false;
  /** Of a request whose answer's head is waited for: ends that, and tells how it was answered where it was. */
  #watch: ((outcome?: Outcome) => void) | undefined;

  constructor(stream: GrpcStream, deps: StreamDeps, shared: SharedByStreams) {
    this.#stream = stream;
    this.#shared = shared;
    this.#deps = deps;
    this.#startedMs = deps.now();
  }

  onMessage(bytes: Buffer): void {
    if (this.#ended) return;
    let message: Message;
    try {
      message = readRequest(bytes);
    } catch {
      this.#end(GRPC_STATUS.INTERNAL, "the message is no ProcessingRequest");
      return;
    }
    this.#guarded(() => this.#onMessage(message));
  }

  onEnd(): void {
    this.#halfClosed = true;
    if (this.#stopWaiting !== undefined || this.#body?.isGiving === true) return;
    this.#watch?.({ status: undefined });
    this.#tellIfLeft();
    this.#end(GRPC_STATUS.OK);
  }

  onDrain(): void {
    this.#guarded(() => {
      this.#body?.onDrain();
      this.#response?.onDrain();
    });
  }

  onClosed(): void {
    if (this.#stopWaiting !== undefined) {
      this.#stopWaiting();
      this.#deps.onWaited("aborted");
    }
    this.#watch?.({ status: undefined });
    this.#tellIfLeft();
    this.#ended = true;
    this.#body?.drop();
  }

  /** Of a request that is over and has no answer. */
  #tellIfLeft(): void {
    if (this.#ended || this.#head === undefined || this.#state.phase === "done") return;
    const reply: Left =
      this.#state.phase === "waiting" ? { kind: "left", model: this.#state.model, phase: this.#state.on } : { kind: "left" };
    this.#deps.onDone({ head: this.#head, reply, durationMs: this.#deps.now() - this.#startedMs, waitedMs: this.#waitedMs });
  }

  #onMessage(message: Message): void {
    if (message.kind === "requestHeaders" && this.#head === undefined) {
      this.#head = message.head;
      // An answer's pieces are not looked at: they go straight back, no faster than Envoy takes them.
      if (message.duplex?.response === true) this.#response = new Relay(this.#stream, "responseBody", () => this.#onResponseGiven());
      if (message.duplex?.request === true && !message.endOfStream) {
        this.#body = new StreamedBody(this.#stream, this.#shared.bodies, () => this.#onGiven());
      }
    }
    if (message.kind === "responseBody" && this.#response !== undefined) {
      this.#response.give(message.body, message.endOfStream);
      if (this.#response.busy) {
        this.#responseWaits = true;
        this.#stream.pause();
      }
      return;
    }
    if (message.kind === "responseHeaders" && this.#watch !== undefined) {
      this.#deps.attempts?.onAnswer(message.status, message.attempts);
      this.#watch(message);
      this.#stream.write(encodeReply({ kind: "continue", phase: message.kind }));
      this.#end(GRPC_STATUS.OK);
      return;
    }
    if (message.kind === "requestBody" && this.#body === undefined) this.#bodyLength = message.body.length;
    const next = this.#body === undefined ? message : this.#streamed(this.#body, message);
    if (next !== undefined) this.#take(step(this.#state, next, this.#deps));
  }

  /** Of a body that comes in pieces the phases see the whole; `undefined` where there is nothing for them to see. */
  #streamed(body: StreamedBody, message: Message): Message | undefined {
    if (message.kind === "requestBody") {
      if (this.#state.phase !== "body") return undefined;
      if (!body.take(message.body, this.#state.limitBytes)) {
        this.#take(answer(tooManyBodies()));
        return undefined;
      }
      const isTooLarge = body.bytes > this.#state.limitBytes; // The rest changes nothing.
      return message.endOfStream || isTooLarge ? { ...message, body: body.whole() } : undefined;
    }
    if (message.kind === "requestTrailers" && this.#state.phase === "body") {
      this.#trailers = true;
      return body.bytes === 0 ? message : { kind: "requestBody", body: body.whole(), endOfStream: false };
    }
    return message;
  }

  /** Envoy has taken a piece of the answer. Most are taken at once, and nothing was held up. */
  #onResponseGiven(): void {
    if (!this.#responseWaits) return;
    this.#responseWaits = false;
    this.#stream.resume();
  }

  /** The body is with Envoy again. An Envoy that keeps no copy of what it sends would lose an answer that meets the end. */
  #onGiven(): void {
    if (this.#response === undefined || this.#halfClosed) this.#end(GRPC_STATUS.OK);
  }

  #take(next: Step): void {
    this.#state = next[0];
    this.#perform(next[1]);
  }

  #perform(effect: Effect): void {
    if (effect.kind === "wait") this.#wait();
    if (effect.kind !== "reply" || this.#ended) return;
    const { reply } = effect;
    // The headers are answered when the body is known.
    if (reply.kind === "readBody" && this.#body !== undefined) return;
    if (reply.kind === "readBody") {
      // For which model it is only the body says, and then it is too late to ask.
      this.#asked = this.#deps.routes.hasTrials() && this.#shared.watches.isOpen;
      this.#stream.write(encodeReply(reply, undefined, this.#asked));
      return;
    }
    if (reply.kind === "continue") {
      this.#stream.write(encodeReply(reply));
      return;
    }
    const durationMs = this.#deps.now() - this.#startedMs;
    const headers = this.#deps.onDone({ head: this.#head, reply, durationMs, waitedMs: this.#waitedMs });
    if (reply.kind === "route" && this.#body !== undefined && this.#trailers) {
      this.#stream.write(encodeRouteWithBody(reply.destinations.join(","), headers, this.#body.whole()));
      this.#body.drop();
      this.#onGiven();
      return;
    }
    if (reply.kind === "route" && this.#body !== undefined) {
      this.#stream.write(encodeReply({ ...reply, phase: "requestHeaders" }, headers));
      this.#body.release();
      return;
    }
    this.#body?.drop();
    if (reply.kind === "route" && reply.trial !== undefined && this.#canWatch(reply)) {
      this.#stream.write(encodeReply(reply, headers, true));
      this.#startWatch(reply.trial);
      return;
    }
    this.#stream.write(encodeReply(reply, headers));
    // Nothing more is needed for this request. Left to Envoy, the stream stays open as long as the engine answers.
    this.#end(GRPC_STATUS.OK);
  }

  /** An Envoy that sends bodies in pieces cannot be told to send more. */
  #canWatch({ phase }: Reply & { readonly kind: "route" }): boolean {
    const isAsked = phase === "requestHeaders" || this.#asked;
    return isAsked && !this.#halfClosed && this.#response === undefined && this.#shared.watches.isOpen;
  }

  #startWatch(trial: Trial): void {
    const { watches } = this.#shared;
    const sinceMs = this.#deps.now();
    const leave = (): void => {
      this.#watch?.();
      this.#end(GRPC_STATUS.OK);
    };
    watches.add(leave);
    this.#watch = (outcome) => {
      this.#watch = undefined;
      watches.delete(leave);
      if (outcome !== undefined) this.#deps.onAnswered(trial, statusFor(trial, outcome), this.#deps.now() - sinceMs);
    };
  }

  #wait(): void {
    const { now, updateHoldMs, onRoutesChange, onWaited } = this.#deps;
    const { holds } = this.#shared;
    const sinceMs = now();
    /** Until when it is looked up again; a hold comes on top of that. */
    let lookUpUntilMs = sinceMs + LOOKUP_WAIT_MS;
    let hold: Hold | undefined;
    let timer: NodeJS.Timeout | undefined;
    const holdUntilMs = (): number => Math.min(sinceMs + updateHoldMs, holds.untilMs);
    const arm = (): void => {
      clearTimeout(timer);
      const untilMs = hold === undefined ? lookUpUntilMs : holdUntilMs();
      timer = setTimeout(() => this.#guarded(onTime), Math.max(untilMs - now(), 0));
    };
    const decide = (next: Step, result: Parameters<StreamDeps["onWaited"]>[0]): void => {
      onWaited(result);
      this.#stopWaiting?.();
      this.#take(next);
      this.#stream.resume();
    };
    const onTime = (): void => {
      if (this.#state.phase !== "waiting") return;
      let result: "given_up" | "no_room" = "given_up";
      if (hold === undefined && holdUntilMs() > now() && isSwapping(this.#state, this.#deps)) {
        hold = holds.take(this.#bodyBytes(), arm);
        if (hold !== undefined) {
          arm();
          return;
        }
        result = "no_room";
      }
      decide(onRoutesChanged(this.#state, true, this.#deps), result);
    };
    const onChange = (): void => {
      if (this.#state.phase !== "waiting") return;
      const next = onRoutesChanged(this.#state, false, this.#deps);
      if (next[1].kind !== "wait") {
        decide(next, "found");
        return;
      }
      if (hold === undefined || isSwapping(this.#state, this.#deps)) return;
      // Of a swap that is over, where the model is may come a moment later than that it is.
      hold.end();
      hold = undefined;
      lookUpUntilMs = now() + LOOKUP_WAIT_MS;
      arm();
    };
    this.#stream.pause(); // What Envoy sends meanwhile is taken afterwards, in order.
    const stopListening = onRoutesChange(() => this.#guarded(onChange));
    arm();
    this.#stopWaiting = () => {
      stopListening();
      clearTimeout(timer);
      hold?.end();
      this.#waitedMs = now() - sinceMs;
      this.#stopWaiting = undefined;
    };
  }

  /** What is kept of the request's body, by Envoy or here. */
  #bodyBytes(): number {
    return this.#body?.bytes ?? this.#bodyLength ?? this.#head?.contentLength ?? UNKNOWN_BODY_BYTES;
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#stopWaiting?.();
      this.#watch?.();
      this.#deps.onDefect(error);
      this.#end(GRPC_STATUS.INTERNAL, "internal error");
    }
  }

  #end(status: (typeof GRPC_STATUS)["OK" | "INTERNAL"], details = ""): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#body?.drop();
    this.#stream.end(status, details);
  }
}

/** What an answer says of the content that was to give it. Where the other one had nothing better either, that is the content's own. */
function statusFor({ own }: Trial, { status, attempts = 0 }: Outcome): AnswerStatus {
  const isOther = own !== undefined && attempts > own && status !== 404 && status !== 503;
  return isOther ? "other" : status;
}
