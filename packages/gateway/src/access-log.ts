import type { Logger } from "@aibrix/service";
import { MODEL_FROM, type RequestRecord, resultOf } from "./requests.ts";

/** Characters of a client's text that a line repeats. */
const MAX_TEXT = 200;

/** Writes one line per request: what was asked for, what came of it, and how long that took. Neither queries nor bodies are in it. */
export function logRequest(log: Logger, record: RequestRecord): void {
  const { head, reply, durationMs, waitedMs } = record;
  log.info(
    {
      method: short(head?.method),
      path: short(head?.path.split("?", 1)[0]),
      model: short(reply.model),
      namespace: short(head?.modelNamespace),
      modelFrom: reply.phase === undefined ? undefined : MODEL_FROM[reply.phase],
      result: resultOf(record),
      status: reply.kind === "answer" ? reply.answer.status : undefined,
      engine: reply.kind === "route" ? reply.destinations[0] : undefined,
      version: reply.kind === "route" ? reply.trial?.version : undefined,
      requestId: short(head?.requestId),
      durationMs: rounded(durationMs),
      waitedMs: rounded(waitedMs),
    },
    "request",
  );
}

function short(text: string | undefined): string | undefined {
  return text !== undefined && text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
