import type { ErrorBody, Reason } from "@aibrix/api";

/** Reasons after which trying again, without a change from outside, may work. */
const RETRYABLE: ReadonlySet<Reason> = new Set<Reason>(["ArtifactUnavailable", "StorageFull", "EngineUnavailable"]);

/** Something that went wrong with an adapter. The message tells people the cause and the remedy; it never holds a secret. */
export class AdapterError extends Error {
  override readonly name = "AdapterError";
  readonly reason: Reason;
  /** Whether the same try may work later by itself. */
  readonly retryable: boolean;

  constructor(reason: Reason, message: string, options: { readonly retryable?: boolean; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.reason = reason;
    this.retryable = options.retryable ?? RETRYABLE.has(reason);
  }
}

/** The reason of an abort after which nobody will go on with what was begun. */
export class NoLongerWanted extends Error {
  override readonly name = "NoLongerWanted";
}

/** A refused call of the runtime's HTTP API. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** An error as the HTTP API shows it. */
export function errorBody(code: string, message: string, retryable: boolean): ErrorBody {
  return { error: { code, message, retryable } };
}

/** Error codes of Node, undici and the S3 client that mean "nobody answered": no connection, or one that broke. */
const NETWORK_CODES = /^(ECONN|EPIPE|ENOTFOUND|EAI_|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|UND_ERR_|ERR_STREAM_PREMATURE_CLOSE)/;

/** The code of a network failure, or `undefined` for any other error. Looks into causes. */
export function networkCode(error: unknown): string | undefined {
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth += 1) {
    const code = (e as { code?: unknown }).code;
    if (typeof code === "string" && NETWORK_CODES.test(code)) return code;
    if (e instanceof AggregateError && e.errors.length > 0) return networkCode(e.errors[0]);
    if (e.name === "TimeoutError") return "TIMEOUT";
  }
  return undefined;
}

/** Where an error came from. Only this is logged of one that nobody expected: its other properties may hold a request's headers. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** One line about any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
