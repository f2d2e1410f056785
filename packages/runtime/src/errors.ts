import type { ErrorBody, Reason } from "@aibrix/api";

/** Reasons after which trying again, without a change from outside, may work. */
const RETRYABLE: ReadonlySet<Reason> = new Set<Reason>(["ArtifactUnavailable", "StorageFull", "EngineUnavailable", "ProbeFailed"]);

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

/** What a server answered, where an error says it in words only: the cause that an answer of the API shows. */
export class HttpAnswer extends Error {
  override readonly name = "HttpAnswer";
  readonly status: number;

  constructor(status: number) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

/** What a call answers with that ends by an {@link AdapterError}; a call that only declares something shows it in the status instead. */
const STATUSES: Readonly<Partial<Record<Reason, number>>> = {
  InvalidManifest: 400,
  InvalidArtifactURL: 400,
  ArtifactNotFound: 404,
  DuplicateName: 409,
  NameConflict: 409,
  NotOurs: 409,
  FolderTaken: 409,
  ArtifactInvalid: 422,
  ArtifactUnfit: 422,
  ArtifactChanged: 422,
  ArtifactNotAllowed: 422,
  EngineRefused: 422,
  EngineRuntimeUpdatingDisabled: 422,
  ArtifactDenied: 424,
  SecretNotFound: 424,
  ArtifactUnavailable: 502,
  StorageFull: 503,
  EngineUnavailable: 503,
  EngineUnauthorized: 503,
  ProbeFailed: 503,
};

/** The HTTP status of an error: that of its reason, and 504 where time ran out at the source. */
export function statusOf(error: AdapterError): number {
  const status = STATUSES[error.reason] ?? 500;
  return status === 502 && isTimeout(error.cause) ? 504 : status;
}

/** A refused call of the runtime's HTTP API. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = status;
    this.code = code;
  }
}

/** An error as the HTTP API shows it. */
export function errorBody(code: string, message: string, retryable: boolean, thrown?: unknown): ErrorBody {
  const cause = causeOf(thrown);
  return { error: { code, message, retryable, ...(cause === undefined ? {} : { cause }) } };
}

/** An error in an answer or a report, with its cause where there is one that can be shown. */
export function errorDetail({ reason, message, retryable, cause }: AdapterError): ErrorBody["error"] {
  return errorBody(reason, message, retryable, cause).error;
}

/** Error codes of Node, undici and the S3 client that mean "nobody answered": no connection, or one that broke. */
const NETWORK_CODES = /^(ECONN|EPIPE|ENOTFOUND|EAI_|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|UND_ERR_|ERR_STREAM_PREMATURE_CLOSE)/;

/** What OpenSSL and Node say of a certificate that does not hold. */
const CERTIFICATE_CODES =
  /^(CERT_|DEPTH_ZERO_SELF_SIGNED_CERT$|SELF_SIGNED_CERT_|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)|ERR_TLS_CERT_|HOSTNAME_MISMATCH$)/;

/** How deep causes are looked into. */
const MAX_DEPTH = 5;

/** The code of a network failure, or `undefined` for any other error. Looks into causes. */
export function networkCode(error: unknown): string | undefined {
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < MAX_DEPTH; e = e.cause, depth += 1) {
    const code = (e as { code?: unknown }).code;
    if (typeof code === "string" && NETWORK_CODES.test(code)) return code;
    if (e instanceof AggregateError && e.errors.length > 0) return networkCode(e.errors[0]);
    if (e.name === "TimeoutError") return "TIMEOUT";
  }
  return undefined;
}

/**
 * Why something failed, in a word that programs can compare: the code of a failure of the network (`ECONNREFUSED`) or of the system (`ENOSPC`),
 * `TIMEOUT`, or what a server answered (`HTTP 503`). Never a text of somebody else's, which might hold a secret.
 *
 * @returns `undefined` where there is no such cause
 */
export function causeOf(error: unknown): string | undefined {
  const code = networkCode(error);
  if (code !== undefined) return code;
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < MAX_DEPTH; e = e.cause, depth += 1) {
    const status = httpStatus(e);
    if (status !== undefined) return `HTTP ${status}`;
    const { code: system } = e as { readonly code?: unknown };
    if (typeof system === "string" && (/^E[A-Z0-9]{2,20}$/.test(system) || CERTIFICATE_CODES.test(system))) return system;
  }
  return undefined;
}

/** The code of a certificate that does not hold, and what to do about it; `undefined` for any other error. Looks into causes. */
export function certificateProblem(error: unknown): string | undefined {
  const code = causeOf(error);
  if (code === undefined || !CERTIFICATE_CODES.test(code)) return undefined;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID" || code === "HOSTNAME_MISMATCH")
    return `its certificate is for another name, ${code}: write the name that it is for, or give the server one for this name`;
  if (code.startsWith("CERT_")) return `its certificate does not hold, ${code}: renew it, or set the clock right`;
  return `its certificate is of an authority that is not trusted here, ${code}: name a file with that authority in NODE_EXTRA_CA_CERTS of the runtime`;
}

/** As our own errors, Amazon's client and Google's client have it. */
function httpStatus(error: Error): number | undefined {
  const { $metadata, code } = error as { readonly $metadata?: { readonly httpStatusCode?: unknown }; readonly code?: unknown };
  const status = error instanceof HttpAnswer ? error.status : ($metadata?.httpStatusCode ?? Number(code));
  return typeof status === "number" && Number.isInteger(status) && status >= 400 && status < 600 ? status : undefined;
}

/** Whether an error is one of waiting too long. */
export function isTimeout(error: unknown): boolean {
  return /TIMEOUT|TIMEDOUT/.test(networkCode(error) ?? "");
}

/** Where an error came from. Only this is logged of one that nobody expected: its other properties may hold a request's headers. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** One line about any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
