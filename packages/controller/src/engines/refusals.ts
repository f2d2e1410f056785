import { explainRefusal, refusalText } from "@aibrix/api";
import { CallError } from "./agent.ts";
import type { Answer } from "./http.ts";

/**
 * An engine's refusal as an error, with cause and remedy. Pure.
 *
 * @param path - what the engine was to load; empty where it was asked for something else
 */
export function refusalError({ status, body }: Answer, path = ""): CallError {
  const { reason, message, retryable } = explainRefusal({ status, text: refusalText(body), path, filesSeen: false });
  return new CallError(reason, message, { retryable });
}
