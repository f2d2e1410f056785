import { createHash, timingSafeEqual } from "node:crypto";

/** Where a key is needed: paths that start like this. Everything else is open, `/invocations` and `/adapters` too. */
const GUARDED = ["/v1", "/v2", "/inference", "/cohere"];

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/**
 * Makes the check of vLLM's `AuthenticationMiddleware`: true when a request may pass.
 * The scheme's case does not matter, the key's does.
 */
export function keyCheck(keys: readonly string[]): (method: string, path: string, authorization: string | undefined) => boolean {
  const known = keys.map(digest);
  return (method, path, authorization) => {
    if (known.length === 0 || method === "OPTIONS" || !GUARDED.some((prefix) => path.startsWith(prefix))) return true;
    const space = authorization?.indexOf(" ") ?? -1;
    if (authorization === undefined || space < 0 || authorization.slice(0, space).toLowerCase() !== "bearer") return false;
    const sent = digest(authorization.slice(space + 1));
    return known.some((key) => timingSafeEqual(key, sent));
  };
}
