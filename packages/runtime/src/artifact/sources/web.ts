import { type Dispatcher, request } from "undici";
import { type Egress, guardRefusal } from "../../egress/egress.ts";
import { AdapterError, certificateProblem, messageOf, networkCode } from "../../errors.ts";

const MAX_REDIRECTS = 5;

export interface WebRequest {
  readonly method?: "GET" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent to the first URL's origin, and to no other that a redirect leads to. */
  readonly authorization?: string | undefined;
  /** What is asked for, in messages. */
  readonly what: string;
  /** What to check where nobody answers, in messages. */
  readonly hint: string;
}

export type WebResponse = Dispatcher.ResponseData;

/**
 * Asks a URL, following redirects; every hop is checked by the guard.
 *
 * @returns the first answer that is no redirect, whatever its status; and where it came from
 * @throws AdapterError `ArtifactUnavailable`, `ArtifactNotAllowed`
 */
export async function ask(
  egress: Egress,
  first: URL,
  call: WebRequest,
  signal: AbortSignal,
): Promise<{ readonly response: WebResponse; readonly url: URL }> {
  let url = first;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
    const response = await send(egress, url, call, url.origin === first.origin ? call.authorization : undefined, signal);
    const { statusCode: status, headers, body } = response;
    if (status < 300 || status >= 400 || status === 304 || typeof headers.location !== "string") return { response, url };
    await body.dump();
    const next = URL.canParse(headers.location, url.href) ? new URL(headers.location, url) : undefined;
    if (next === undefined || !["http:", "https:"].includes(next.protocol))
      throw new AdapterError("ArtifactUnavailable", `${url.origin} redirects ${call.what} to what is no http address`, {
        retryable: false,
      });
    url = next;
  }
  throw new AdapterError("ArtifactUnavailable", `${first.origin} redirects more than ${MAX_REDIRECTS} times for ${call.what}`);
}

async function send(
  egress: Egress,
  url: URL,
  { method = "GET", headers, what, hint }: WebRequest,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<WebResponse> {
  egress.check(url);
  try {
    return await request(url, {
      method,
      dispatcher: egress.dispatcher,
      signal,
      headers: {
        "user-agent": "aibrix-runtime",
        "accept-encoding": "identity",
        ...headers,
        ...(authorization === undefined ? {} : { authorization }),
      },
    });
  } catch (error) {
    if (signal.aborted) throw error;
    const refused = guardRefusal(error);
    if (refused !== undefined) throw refused;
    const untrusted = certificateProblem(error);
    if (untrusted !== undefined)
      throw new AdapterError("ArtifactUnavailable", `${url.origin} is not trusted for ${what} (${untrusted}); it is tried again`, {
        cause: error,
      });
    throw new AdapterError(
      "ArtifactUnavailable",
      `${url.origin} does not answer (${networkCode(error) ?? messageOf(error)}) for ${what}: check ${hint}; it is tried again`,
      { cause: error },
    );
  }
}

/** Whether the same request may work later by itself. */
export function isPassing(status: number): boolean {
  return (status >= 500 && status !== 501) || status === 429 || status === 408;
}

/** Text of somebody else's for a message: one line, not endless. */
export function clip(text: unknown): string {
  return String(text ?? "")
    .replaceAll(/\s+/g, " ")
    .slice(0, 200);
}
