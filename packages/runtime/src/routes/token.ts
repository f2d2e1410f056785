import { createHash, timingSafeEqual } from "node:crypto";
import type { onRequestAsyncHookHandler } from "fastify";
import { RequestError } from "../errors.ts";
import { readToken } from "../token-file.ts";

/**
 * Lets a call pass, before its body is read, whose `Authorization: Bearer` is the token in a file. The file is read at each call: a mounted Secret changes.
 *
 * @returns a hook that throws RequestError 401 for another token or none, 503 where the file cannot be read or is empty
 */
export function requireToken(file: string): onRequestAsyncHookHandler {
  return async (request, reply) => {
    const { token, error } = await readToken(file);
    if (token === "")
      throw new RequestError(503, "TokenUnavailable", `the runtime cannot read a token from --token-file=${file}: mount the Secret there`, {
        cause: error,
      });
    const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1] ?? "";
    if (timingSafeEqual(hash(given), hash(token))) return;
    void reply.header("www-authenticate", "Bearer");
    throw new RequestError(
      401,
      "Unauthorized",
      "this call wants the runtime's token: send Authorization: Bearer with what is in its --token-file (the controller: --runtime-token-file)",
    );
  };
}

/** Of one length whatever was given, as the comparison wants. */
function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
