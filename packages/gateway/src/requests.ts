import type { RequestHead } from "./http/request-head.ts";
import type { Reply, RoutedPhase } from "./phases/types.ts";

/** What came of one request, for metrics and the access log. Of its body it has the model's name and no more. */
export interface RequestRecord {
  /** `undefined` where Envoy sent none. */
  readonly head: RequestHead | undefined;
  /** The last word to Envoy. */
  readonly reply: Reply & { readonly kind: "route" | "answer" };
  /** From Envoy's first message to that, in milliseconds. */
  readonly durationMs: number;
  /** Of that: waiting for the model to appear or to become ready, in milliseconds. */
  readonly waitedMs: number;
}

/** `routed`, or the details of the gateway's own answer. */
export function resultOf({ reply }: RequestRecord): string {
  return reply.kind === "route" ? "routed" : reply.answer.details;
}

/** Who found the model, by the message in which the gateway learned it. */
export const MODEL_FROM: Readonly<Record<RoutedPhase, "envoy" | "body">> = { requestHeaders: "envoy", requestBody: "body" };
