import type { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import { request } from "undici";
import type { Egress } from "../../egress/egress.ts";

type Handle = S3Client["config"]["requestHandler"]["handle"];
type HttpRequest = Parameters<Handle>[0];
type HttpResponse = Awaited<ReturnType<Handle>>["response"];

/**
 * Carries the requests of Amazon's client over our own way out, so that guard, proxies and connections are those of every other source.
 * The client's own handler has agents of Node, which know neither.
 */
export class EgressHandler {
  readonly metadata = { handlerProtocol: "http/1.1" };
  readonly #egress: Egress;
  readonly #checkSigned: (url: URL) => Promise<void>;

  /** @param checkSigned - rejects where a request with credentials may not go to a URL */
  constructor(egress: Egress, checkSigned: (url: URL) => Promise<void>) {
    this.#egress = egress;
    this.#checkSigned = checkSigned;
  }

  async handle(call: HttpRequest, options: { readonly abortSignal?: unknown } = {}): Promise<{ response: HttpResponse }> {
    const url = urlOf(call);
    this.#egress.check(url);
    if (Object.keys(call.headers).some((h) => h.toLowerCase() === "authorization")) await this.#checkSigned(url);
    // Undici frames bodies itself.
    const { "content-length": _length, expect: _expect, ...headers } = lowerCased(call.headers);
    const {
      statusCode,
      headers: answered,
      body,
    } = await request(url, {
      method: call.method as "GET",
      headers,
      body: (call.body ?? null) as Readable | null,
      dispatcher: this.#egress.dispatcher,
      ...(options.abortSignal instanceof AbortSignal ? { signal: options.abortSignal } : {}),
    });
    const flat = Object.entries(answered).flatMap(([name, value]) => (value === undefined ? [] : [[name, [value].flat().join(", ")]]));
    return { response: { statusCode, headers: Object.fromEntries(flat), body } as HttpResponse };
  }

  /** The connections are everybody's. */
  destroy(): void {}
}

function urlOf({ protocol, hostname, port, path, query }: HttpRequest): URL {
  const pairs = Object.entries(query ?? {}).flatMap(([key, value]) =>
    [value].flat().map((v) => (v === null || v === undefined ? escaped(key) : `${escaped(key)}=${escaped(String(v))}`)),
  );
  return new URL(
    `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}${pairs.length === 0 ? "" : `?${pairs.join("&")}`}`,
  );
}

/** As signatures want it (RFC 3986): `encodeURIComponent` leaves five characters as they are. */
function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
