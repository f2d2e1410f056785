import { ANNOTATION_ABORT, ANNOTATION_PROMOTE } from "@aibrix/api";
import type { Handled, Update } from "../contents.ts";
import type { ModelAdapterObject } from "../types.ts";

/** No annotation was acted on yet. */
export const NOTHING_HANDLED: Handled = { promote: undefined, abort: undefined };

/** What somebody asks for by annotations that were not acted on yet. */
export interface Asks {
  readonly promote: boolean;
  /** The annotation's value. */
  readonly abort: string | undefined;
  readonly handled: Handled;
}

/** The longest value that the status keeps. */
const MAX_ASK = 1_024;

/** A promotion waits for the end of a pause; where nothing is on trial it is over. */
export function asksOf({ metadata, spec, status }: ModelAdapterObject, update: Update | undefined): Asks {
  const value = (annotation: string, last: string | undefined) => {
    const now = metadata.annotations?.[annotation]?.slice(0, MAX_ASK);
    return now === undefined || now === "" || now === last ? undefined : now;
  };
  const [lastPromote, lastAbort] = [status?.lastHandledPromote, status?.lastHandledAbort];
  const promote = value(ANNOTATION_PROMOTE, lastPromote);
  const abort = value(ANNOTATION_ABORT, lastAbort);
  const onTrial = update?.state === "Swapping" && update.canary !== undefined;
  const waits = onTrial && spec.rollout?.paused === true;
  return {
    promote: promote !== undefined && onTrial && !waits,
    abort,
    handled: { promote: waits ? lastPromote : (promote ?? lastPromote), abort: abort ?? lastAbort },
  };
}
