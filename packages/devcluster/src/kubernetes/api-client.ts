import { request } from "node:https";

/** How a client reaches the API server, as PEM texts. */
export interface ClientConfig {
  readonly server: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const ANSWER_WITHIN_MS = 5_000;

/**
 * Calls an HTTPS server whose certificate comes from an authority of our own, which Node's `fetch` cannot be told of.
 * @param call.patch - a JSON patch to send; without it a GET
 * @returns status and text
 * @throws Error when there is no answer within five seconds, or the signal aborts
 */
export function callApi(
  url: string,
  tls: { readonly ca: string; readonly cert?: string; readonly key?: string },
  signal: AbortSignal,
  patch?: readonly object[],
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const within = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
    const sent = patch === undefined ? {} : { method: "PATCH", headers: { "content-type": "application/json-patch+json" } };
    const req = request(url, { ...tls, ...sent, agent: false, signal: within }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }));
    });
    req.on("error", reject);
    req.end(patch === undefined ? undefined : JSON.stringify(patch));
  });
}
