import type { RequestHead } from "./http/request-head.ts";
import type { Reply, RoutedPhase } from "./phases/types.ts";

/** What came of one request, for metrics and the access log. Of its body it has the model's name and no more. */
export interface RequestRecord {
  /** `undefined` where Envoy sent none. */
  readonly head: RequestHead | undefined;
  /** The last word to Envoy. */
  readonly reply: (Reply & { readonly kind: "route" | "answer" }) | Left;
  /** From Envoy's first message to that, in milliseconds. */
  readonly durationMs: number;
  /** Of that: waiting for the model to appear or to become ready, in milliseconds. */
  readonly waitedMs: number;
}

/** There was none: Envoy ended the call before the decision, as it does where its client has gone. */
export interface Left {
  readonly kind: "left";
  /** The model, where it was known already, and the message that named it. */
  readonly model?: string;
  readonly phase?: RoutedPhase;
}

/** `routed`, `client_left`, or the details of the gateway's own answer. */
export function resultOf({ reply }: RequestRecord): string {
  if (reply.kind === "left") return "client_left";
  return reply.kind === "route" ? "routed" : reply.answer.details;
}

/** Who found the model, by the message in which the gateway learned it. */
export const MODEL_FROM: Readonly<Record<RoutedPhase, "envoy" | "body">> = { requestHeaders: "envoy", requestBody: "body" };
