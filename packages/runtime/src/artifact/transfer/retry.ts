import pRetry from "p-retry";
import { AdapterError, isTimeout } from "../../errors.ts";
import { SourceChanged } from "../sources/source.ts";
import { VolumeDenied } from "./storage-error.ts";

/** Retries within one try of an adapter; after these the adapter's own backoff takes over, which its status shows. */
export const RETRIES = 3;
const BACKOFF = { minTimeout: 200, maxTimeout: 5_000, factor: 2, randomize: true } as const;

/** Runs a call to a source, again where that may help. */
export async function retried<T>(call: () => Promise<T>, signal: AbortSignal, retries: number = RETRIES): Promise<T> {
  return await pRetry(call, { ...BACKOFF, retries, signal, shouldRetry: ({ error }) => mayPass(error) });
}

/**
 * Whether the same call may work in a moment. A full volume does not empty itself in a second, nor does one that takes nothing,
 * a file that was replaced does not come back,
 * a damaged one is read anew as a whole, and who waits for a silent source holds a place that others could use.
 */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof AdapterError) || !error.retryable) return false;
  return error.reason === "ArtifactUnavailable" && !(error instanceof SourceChanged || error instanceof VolumeDenied) && !isTimeout(error);
}

/** What marks an error as one of waiting too long. */
export function timeoutError(): DOMException {
  return new DOMException("nothing came in time", "TimeoutError");
}
