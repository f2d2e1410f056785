/** How the body of a path names its model. */
type BodyKind = "json" | "multipart";

/** What a known path is for. */
export type Target =
  | { readonly kind: "inference"; readonly path: string; readonly body: BodyKind; readonly limitBytes: number }
  | { readonly kind: "models" }
  | { readonly kind: "model"; readonly id: string };

const MIB = 1024 * 1024;

/** Largest body that passes, in bytes. */
export const BODY_LIMIT_BYTES = 16 * MIB;
/** Largest body of an audio request that passes, in bytes. */
export const AUDIO_LIMIT_BYTES = 25 * MIB;

/** The paths that reach an engine. Everything else is refused: an engine has paths that change it, or that need no key. */
const INFERENCE_PATHS: ReadonlyMap<string, BodyKind> = new Map<string, BodyKind>([
  ["/v1/completions", "json"],
  ["/v1/chat/completions", "json"],
  ["/v1/responses", "json"],
  ["/v1/messages", "json"],
  ["/v1/embeddings", "json"],
  ["/v1/rerank", "json"],
  ["/v1/score", "json"],
  ["/v1/classify", "json"],
  ["/v1/audio/transcriptions", "multipart"],
  ["/v1/audio/translations", "multipart"],
  ["/tokenize", "json"],
  ["/detokenize", "json"],
]);

/** Paths whose bodies are JSON. */
export const JSON_PATHS: readonly string[] = [...INFERENCE_PATHS].filter(([, body]) => body === "json").map(([path]) => path);

const MODELS_PATH = "/v1/models";

/**
 * Finds out what a path is for. It compares exactly what Envoy would forward (Envoy normalises `..` and `//` before), so that no
 * spelling passes here that the engine reads as another path.
 *
 * @param path - the `:path` header, with its query
 * @returns `undefined` for a path that does not pass
 */
export function targetOf(path: string): Target | undefined {
  const query = path.indexOf("?");
  const plain = query === -1 ? path : path.slice(0, query);
  const body = INFERENCE_PATHS.get(plain);
  if (body !== undefined) {
    return { kind: "inference", path: plain, body, limitBytes: body === "multipart" ? AUDIO_LIMIT_BYTES : BODY_LIMIT_BYTES };
  }
  if (plain === MODELS_PATH || plain === `${MODELS_PATH}/`) return { kind: "models" };
  if (plain.startsWith(`${MODELS_PATH}/`)) return { kind: "model", id: decode(plain.slice(MODELS_PATH.length + 1)) };
  return undefined;
}

/** The method that a target takes. */
export function methodOf(target: Target): "GET" | "POST" {
  return target.kind === "inference" ? "POST" : "GET";
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // No model has such a name: the answer is a 404 that repeats it.
  }
}
