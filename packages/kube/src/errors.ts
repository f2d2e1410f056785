import type { Status } from "./types.ts";

export interface KubeErrorInit {
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs?: number | undefined;
  readonly details?: Status["details"];
  readonly cause?: unknown;
}

/** Statuses that the same request will meet again, however often it is sent. */
const FINAL = new Set([400, 404, 405, 406, 410, 413, 415, 422]);

/** A call to the API server that did not do what was asked. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP status, or 0 where no whole answer came (connection refused or dropped, deadline). */
  readonly status: number;
  /** Kubernetes' word for it (`NotFound`, `Conflict`, `AlreadyExists`, `Expired` …); `NoAnswer`, `Deadline`, `Garbage` where no answer came. */
  readonly reason: string;
  /** Whether the same work may succeed later without anybody's edit. A conflict counts: the work is done again on what is there then. */
  readonly retryable: boolean;
  /** How long the server wants to be left alone, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  readonly details: Status["details"];

  constructor(message: string, init: KubeErrorInit) {
    super(message, { cause: init.cause });
    this.status = init.status;
    this.reason = init.reason;
    this.retryable = !FINAL.has(init.status);
    this.retryAfterMs = init.retryAfterMs;
    this.details = init.details;
  }

  get notFound(): boolean {
    return this.status === 404;
  }

  /** Somebody else wrote first: read again and decide again. */
  get conflict(): boolean {
    return this.status === 409 && this.reason !== "AlreadyExists";
  }

  get alreadyExists(): boolean {
    return this.status === 409 && this.reason === "AlreadyExists";
  }

  /** The resourceVersion or the continue token is too old: list again. */
  get expired(): boolean {
    return this.status === 410 || this.reason === "Expired" || this.reason === "Gone";
  }
}

/** An error that no retry mends; the work waits for an edit. */
export class TerminalError extends Error {
  override readonly name = "TerminalError";
  readonly retryable = false;
}

/** Whether work that ended in this error should be tried again. Unknown errors are. */
export function isRetryable(error: unknown): boolean {
  return (error as { readonly retryable?: unknown } | undefined)?.retryable !== false;
}

/** How long an error asks to wait before the next try, in milliseconds. */
export function retryAfterMs(error: unknown): number | undefined {
  const value = (error as { readonly retryAfterMs?: unknown } | undefined)?.retryAfterMs;
  return typeof value === "number" ? value : undefined;
}

/** The error for an answer of the API server that is not a success. `body` is the answer's text, best a `Status`. */
export function errorFromAnswer(what: string, httpStatus: number, body: string, retryAfterHeader: string | undefined): KubeError {
  let status: Status = {};
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === "object" && parsed !== null) status = parsed;
  } catch {
    // A proxy's page or plain text: the HTTP status says what matters.
  }
  return errorFromStatus(what, { ...status, code: httpStatus }, retryAfterHeader);
}

/** The error for a `Status`, as it stands in an answer or in a watch's ERROR event. */
export function errorFromStatus(what: string, status: Status, retryAfterHeader?: string): KubeError {
  const code = status.code ?? 500;
  const reason = status.reason ?? (code === 429 ? "TooManyRequests" : code >= 500 ? "InternalError" : "Unknown");
  const retryAfterS = Number(retryAfterHeader ?? status.details?.retryAfterSeconds);
  return new KubeError(`${what}: ${code} ${reason}${status.message ? `: ${status.message}` : ""}`, {
    status: code,
    reason,
    retryAfterMs: Number.isFinite(retryAfterS) && retryAfterS > 0 ? Math.min(retryAfterS, 300) * 1000 : undefined,
    details: status.details,
  });
}
