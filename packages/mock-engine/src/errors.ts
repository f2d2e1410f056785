/** An answer that is not a success, before it is put into one of the two shapes. */
export interface Refusal {
  readonly status: number;
  readonly type: string;
  readonly message: string;
  readonly param?: string | undefined;
}

/** `nested` is `{"error":{…}}`; `flat` is what older releases send: the same fields at the top and `"object":"error"`. */
export type ErrorShape = "nested" | "flat";

/** Thrown by whatever needs the engine once it has died; vLLM's own message. */
export class EngineDeadError extends Error {
  override readonly name = "EngineDeadError";
  constructor() {
    super("EngineCore encountered an issue. See stack trace (above) for the root cause.");
  }
}

/** An exception of the worker that reads weights: loading answers 500 with it; during a request it ends the engine. */
export class WorkerError extends Error {
  override readonly name = "WorkerError";
}

/** No adapter is at that path: loading answers 404. */
export class AdapterNotFoundError extends Error {
  override readonly name = "AdapterNotFoundError";
  constructor(name: string, path: string) {
    super(`Loading lora ${name} failed: No adapter found for ${path}`);
  }
}

/** Hides file paths in messages, as `sanitize_message` in vllm/entrypoints/serve/exception_handling/utils.py does. */
export function sanitize(message: string): string {
  return message
    .replaceAll(/\/(?:home|usr|opt|var|tmp|root|lib|mnt|srv)(?:\/[\p{L}\p{N}_.-]+)+/gu, "<path>")
    .replaceAll(/(?:\/[\p{L}\p{N}_-]+)+\/[\p{L}\p{N}_-]+\.[\p{L}\p{N}_]+/gu, "<path>")
    .trim();
}

/** The body of an error answer. */
export function errorBody(refusal: Refusal, shape: ErrorShape): string {
  const { type, status: code, param = null } = refusal;
  const message = sanitize(refusal.message);
  return JSON.stringify(shape === "nested" ? { error: { message, type, param, code } } : { object: "error", message, type, param, code });
}

/** A request that vLLM refuses after it was parsed (its `VLLMValidationError`). */
export function badRequest(message: string, param: string, value?: number | string): Refusal {
  const extras = value === undefined ? `parameter=${param}` : `parameter=${param}, value=${value}`;
  return { status: 400, type: "BadRequestError", message: `${message} (${extras})`, param };
}

export function notFound(message: string, param?: string): Refusal {
  return { status: 404, type: "NotFoundError", message, param };
}

export function invalidInput(message: string): Refusal {
  return { status: 400, type: "InvalidUserInput", message };
}

export function internalError(message: string): Refusal {
  return { status: 500, type: "InternalServerError", message };
}
