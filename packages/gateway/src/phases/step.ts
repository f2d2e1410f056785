import { noBody } from "../openai/errors.ts";
import { onRequestBody } from "./request-body.ts";
import { onRequestHeaders } from "./request-headers.ts";
import { answer, type Message, type PhaseDeps, proceed, type RequestState, type Step } from "./types.ts";

/** One message of Envoy in, next state and effect out. Any message in any state has an answer: Envoy waits for one. */
export function step(state: RequestState, message: Message, deps: PhaseDeps): Step {
  switch (message.kind) {
    case "requestHeaders":
      return state.phase === "new" ? onRequestHeaders(message, deps) : proceed(state, message.kind);
    case "requestBody":
      return state.phase === "body" ? onRequestBody(state, message.body, deps) : proceed(state, message.kind);
    case "requestTrailers":
      // Trailers and no body: asked for because such a request would go on without a destination.
      return state.phase === "body" ? answer(noBody()) : proceed(state, message.kind);
    case "unknown":
      return [state, { kind: "none" }];
    default:
      return proceed(state, message.kind);
  }
}
