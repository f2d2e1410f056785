import { explainRefusal, refusalText } from "@aibrix/api";
import { AdapterError } from "../errors.ts";

/**
 * An engine's refusal as an error, with cause and remedy. Pure.
 *
 * @param path - what the engine was to load; empty where it was asked for something else
 */
export function refusalError({ status, body }: { readonly status: number; readonly body: string }, path = ""): AdapterError {
  const { reason, message, retryable } = explainRefusal({ status, text: refusalText(body), path, filesSeen: true });
  return new AdapterError(reason, message, { retryable });
}
