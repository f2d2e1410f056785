import type { RequestHead } from "../http/request-head.ts";
import { onRoutesChanged } from "../phases/look-up.ts";
import { step } from "../phases/step.ts";
import { type Effect, type Message, NEW_REQUEST, type PhaseDeps, type RequestState, type Step } from "../phases/types.ts";
import type { RequestRecord } from "../requests.ts";
import { encodeReply } from "./codec.ts";
import { readRequest } from "./request-reader.ts";
import { GRPC_STATUS } from "./status.ts";
import type { GrpcHandler, GrpcStream } from "./transport.ts";

/** How long a model that cannot be routed is looked up again before it is refused, in milliseconds. */
const LOOKUP_WAIT_MS = 300;

/** What a stream needs of the program. */
export interface StreamDeps extends PhaseDeps {
  /** Calls back at every change of the routes until the returned function is called. */
  readonly onRoutesChange: (callback: () => void) => () => void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Told once per request what came of it; may give headers for the engine. */
  readonly onDone: (record: RequestRecord) => Readonly<Record<string, string>> | undefined;
  /** Told how a wait for a model ended. */
  readonly onWaited: (result: "found" | "given_up" | "aborted") => void;
  /** Told of a defect; the stream ends with an error. */
  readonly onDefect: (error: unknown) => void;
}

/** One request of Envoy's: a loop around the phases. It holds nothing once the stream has ended, however it ended. */
export class RequestStream implements GrpcHandler {
  readonly #stream: GrpcStream;
  readonly #deps: StreamDeps;
  readonly #startedMs: number;
  #waitedMs = 0;
  #head: RequestHead | undefined;
  #state: RequestState = NEW_REQUEST;
  #ended = false;
  #stopWaiting: (() => void) | undefined;

  constructor(stream: GrpcStream, deps: StreamDeps) {
    this.#stream = stream;
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
    if (message.kind === "requestHeaders") this.#head ??= message.head;
    this.#guarded(() => this.#take(step(this.#state, message, this.#deps)));
  }

  onEnd(): void {
    if (this.#stopWaiting === undefined) this.#end(GRPC_STATUS.OK);
  }

  onClosed(): void {
    this.#ended = true;
    if (this.#stopWaiting === undefined) return;
    this.#stopWaiting();
    this.#deps.onWaited("aborted");
  }

  #take(next: Step): void {
    this.#state = next[0];
    this.#perform(next[1]);
  }

  #perform(effect: Effect): void {
    if (effect.kind === "wait") this.#wait();
    if (effect.kind !== "reply" || this.#ended) return;
    const { reply } = effect;
    if (reply.kind === "continue" || reply.kind === "readBody") {
      this.#stream.write(encodeReply(reply));
      return;
    }
    const durationMs = this.#deps.now() - this.#startedMs;
    const headers = this.#deps.onDone({ head: this.#head, reply, durationMs, waitedMs: this.#waitedMs });
    this.#stream.write(encodeReply(reply, headers));
    // Nothing more is needed for this request. Left to Envoy, the stream stays open as long as the engine answers.
    this.#end(GRPC_STATUS.OK);
  }

  #wait(): void {
    const sinceMs = this.#deps.now();
    this.#stream.pause(); // What Envoy sends meanwhile is taken afterwards, in order.
    const lookUp = (last: boolean): void => {
      if (this.#state.phase !== "waiting") return;
      const next = onRoutesChanged(this.#state, last, this.#deps);
      if (next[1].kind === "wait") return;
      this.#waitedMs = this.#deps.now() - sinceMs;
      this.#deps.onWaited(last ? "given_up" : "found");
      this.#stopWaiting?.();
      this.#take(next);
      this.#stream.resume();
    };
    const stopListening = this.#deps.onRoutesChange(() => this.#guarded(() => lookUp(false)));
    const timer = setTimeout(() => this.#guarded(() => lookUp(true)), LOOKUP_WAIT_MS);
    this.#stopWaiting = () => {
      stopListening();
      clearTimeout(timer);
      this.#stopWaiting = undefined;
    };
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#stopWaiting?.();
      this.#deps.onDefect(error);
      this.#end(GRPC_STATUS.INTERNAL, "internal error");
    }
  }

  #end(status: (typeof GRPC_STATUS)["OK" | "INTERNAL"], details = ""): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.end(status, details);
  }
}
