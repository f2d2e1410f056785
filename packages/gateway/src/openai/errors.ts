import type { Reason } from "@aibrix/api";

/** An answer that the gateway gives itself. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  /** Besides `content-type: application/json`. */
  readonly headers: Readonly<Record<string, string>>;
  /** What it was, in Envoy's access log (`%RESPONSE_CODE_DETAILS%`) and in the metrics; begins with `aibrix_`, which Envoy's configuration relies on. */
  readonly details: `aibrix_${string}`;
}

interface ErrorFields {
  readonly status: number;
  readonly message: string;
  readonly type: "invalid_request_error" | "server_error";
  readonly param?: string;
  readonly code?: string;
  /** Where it differs from the code. */
  readonly details?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error in the shape that OpenAI's clients read. */
function error(e: ErrorFields): Answer {
  const { message, type, param = null, code = null } = e;
  return {
    status: e.status,
    body: JSON.stringify({ error: { message, type, param, code } }),
    headers: e.headers ?? {},
    details: `aibrix_${e.details ?? code ?? "error"}`,
  };
}

const invalid = (e: Omit<ErrorFields, "type">): Answer => error({ type: "invalid_request_error", ...e });

/** Repeats what a client sent, bounded. */
function quote(text: string): string {
  return `\`${text.length > 200 ? `${text.slice(0, 200)}…` : text}\``;
}

/** A path that does not pass. */
export function unknownPath(method: string, path: string): Answer {
  return invalid({
    status: 404,
    message: `Unknown request URL: ${method} ${path.slice(0, 200)}. This gateway passes OpenAI's paths, such as POST /v1/chat/completions and GET /v1/models.`,
    code: "unknown_url",
  });
}

/** A known path with another method. */
export function wrongMethod(method: string, path: string, allow: string): Answer {
  return invalid({
    status: 405,
    message: `Not allowed to ${method} on ${path.slice(0, 200)}: use ${allow}.`,
    code: "method_not_supported",
    headers: { allow },
  });
}

/** A body that the gateway cannot look into. */
export function compressedBody(encoding: string): Answer {
  return invalid({
    status: 415,
    message: `The body has content-encoding ${quote(encoding)}, in which the model cannot be read: send it uncompressed.`,
    code: "unsupported_content_encoding",
  });
}

/** A body above the path's limit. */
export function bodyTooLarge(limitBytes: number): Answer {
  return invalid({
    status: 413,
    message: `The request body is too large: this path takes at most ${limitBytes} bytes (${limitBytes / 1024 / 1024} MiB).`,
    code: "request_too_large",
  });
}

/** No body where one is needed. */
export function noBody(): Answer {
  return invalid({
    status: 400,
    message: 'The request has no body. Send one that names a model, such as {"model": "NAME", …}.',
    details: "no_body",
  });
}

/** A body that cannot be read. */
export function unreadableBody(why: string): Answer {
  return invalid({ status: 400, message: `The request body cannot be read: ${why}.`, details: "unreadable_body" });
}

/** A body without a model. */
export function missingModel(where: string): Answer {
  return invalid({
    status: 400,
    message: `You must provide a model parameter: ${where}. GET /v1/models lists the names.`,
    param: "model",
    code: "missing_required_parameter",
  });
}

/** A model that is not a name. */
export function modelNotAString(was: string): Answer {
  return invalid({
    status: 400,
    message: `Invalid type for 'model': expected a string that is not empty, but got ${was}. GET /v1/models lists the names.`,
    param: "model",
    code: "invalid_type",
  });
}

/** Nothing has this name. */
export function modelNotFound(model: string): Answer {
  return invalid({
    status: 404,
    message: `The model ${quote(model)} does not exist or you do not have access to it.`,
    param: "model",
    code: "model_not_found",
  });
}

/** Seconds after which a client should ask again for a model that is not ready. */
const RETRY_AFTER_SEC = 2;

/** The same where somebody has to mend something first. */
const RETRY_AFTER_MENDING_SEC = 60;

/** Reasons that wait for somebody's doing. */
const FINAL: readonly Reason[] = [
  "InvalidManifest",
  "DuplicateName",
  "InvalidArtifactURL",
  "SecretNotFound",
  "ArtifactNotFound",
  "ArtifactDenied",
  "ArtifactInvalid",
  "ArtifactUnfit",
  "EngineUnauthorized",
  "EngineRuntimeUpdatingDisabled",
  "EngineRefused",
  "NameConflict",
];

/**
 * Something has this name, but nothing serves it now.
 *
 * @param why - ends in the reason in brackets, where one is known
 */
export function modelNotReady(model: string, why: string): Answer {
  const final = FINAL.some((reason) => why.endsWith(`(${reason})`));
  const hint = final ? "Its operator has to mend that." : "Try again shortly.";
  return error({
    status: 503,
    message: `The model ${quote(model)} is known, but nothing serves it now: ${why}. ${hint}`,
    type: "server_error",
    param: "model",
    code: "model_not_ready",
    headers: { "retry-after": String(final ? RETRY_AFTER_MENDING_SEC : RETRY_AFTER_SEC) },
  });
}

/** The gateway holds as many bodies as it may. */
export function tooManyBodies(): Answer {
  return error({
    status: 503,
    message: "The gateway holds too many large request bodies now. Try again shortly.",
    type: "server_error",
    code: "gateway_overloaded",
    headers: { "retry-after": String(RETRY_AFTER_SEC) },
  });
}
