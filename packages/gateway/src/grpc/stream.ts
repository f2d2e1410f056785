import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import { onRoutesChanged } from "../phases/request-body.ts";
import { step } from "../phases/step.ts";
import { type Effect, type Message, NEW_REQUEST, type PhaseDeps, type RequestState, type Step } from "../phases/types.ts";
import { encodeReply } from "./codec.ts";

/** How long a model that cannot be routed is looked up again before it is refused, in milliseconds. */
const LOOKUP_WAIT_MS = 300;

/** What a stream needs of the program. */
export interface StreamDeps extends PhaseDeps {
  /** Calls back at every change of the routes until the returned function is called. */
  readonly onRoutesChange: (callback: () => void) => () => void;
  /** Told once per request what came of it: `routed`, or an answer's details. */
  readonly onResult: (result: string) => void;
  /** Told how a wait for a model ended. */
  readonly onWaited: (result: "found" | "given_up" | "aborted") => void;
  /** Told of a defect; the stream ends with an error. */
  readonly onDefect: (error: unknown) => void;
}

/** Serves one request of Envoy's: a loop around the phases. It holds nothing once the stream has ended, however it ended. */
export function serveStream(call: ServerDuplexStream<Message, Buffer>, deps: StreamDeps): void {
  let state: RequestState = NEW_REQUEST;
  let stopWaiting: (() => void) | undefined;

  const take = (next: Step): void => {
    state = next[0];
    perform(next[1]);
  };

  const perform = (effect: Effect): void => {
    if (effect.kind === "wait") wait();
    if (effect.kind !== "reply" || call.writableEnded) return;
    const { reply } = effect;
    call.write(encodeReply(reply));
    if (reply.kind === "continue") return;
    // Nothing more is needed for this request. Left to Envoy, the stream stays open as long as the engine answers.
    call.end();
    deps.onResult(reply.kind === "route" ? "routed" : reply.answer.details);
  };

  const wait = (): void => {
    call.pause(); // What Envoy sends meanwhile is taken afterwards, in order.
    const lookUp = (last: boolean): void => {
      if (state.phase !== "waiting") return;
      const next = onRoutesChanged(state, last, deps);
      if (next[1].kind === "wait") return;
      deps.onWaited(last ? "given_up" : "found");
      stopWaiting?.();
      take(next);
      call.resume();
    };
    const stopListening = deps.onRoutesChange(() => guarded(() => lookUp(false)));
    const timer = setTimeout(() => guarded(() => lookUp(true)), LOOKUP_WAIT_MS);
    stopWaiting = () => {
      stopListening();
      clearTimeout(timer);
      stopWaiting = undefined;
    };
  };

  const guarded = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      stopWaiting?.();
      deps.onDefect(error);
      call.emit("error", Object.assign(new Error("internal error"), { code: status.INTERNAL }));
    }
  };

  const onGone = (): void => {
    if (stopWaiting === undefined) return;
    stopWaiting();
    deps.onWaited("aborted");
  };

  call.on("data", (message: Message) => guarded(() => take(step(state, message, deps))));
  call.on("end", () => {
    if (!call.writableEnded) call.end();
  });
  call.on("cancelled", onGone);
  call.on("close", onGone);
  call.on("error", onGone);
}
