import type { Readable } from "node:stream";
import type { KubeConfig } from "@kubernetes/client-node";
import { request as undiciRequest } from "undici";
import { Connection } from "./connection.ts";
import { errorFromAnswer, KubeError } from "./errors.ts";
import { Deadline, sleep } from "./time.ts";
import { TokenBucket } from "./token-bucket.ts";

/** What a call does, in RBAC's words. */
export type Verb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";

/** One request that was sent, for metrics and for tests that count. `status` is 0 where no answer came. */
export interface Call {
  readonly verb: Verb;
  readonly resource: string;
  readonly subresource?: string;
  readonly status: number;
  readonly durationMs: number;
}

export interface TransportOptions {
  readonly config: KubeConfig;
  /** How the program names itself to the server. */
  readonly userAgent: string;
  /** Deadline of every call but a watch's stream, in milliseconds, retries included. 30 s where absent. */
  readonly timeoutMs?: number;
  /** Bound on calls per second, watches apart. No bound where absent: the server's own fairness bounds as well. */
  readonly rate?: { readonly perSecond: number; readonly burst: number };
  /** Called after every request that was sent, also one that is tried again. */
  readonly onCall?: (call: Call) => void;
}

export interface Send {
  readonly verb: Verb;
  readonly resource: string;
  readonly subresource?: string | undefined;
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly timeoutMs?: number | undefined;
}

/** How often a call is sent again where the server asks to come back later, or refuses a token. */
const MAX_RETRIES = 3;

/** Sends requests: credentials, deadline, Retry-After, errors. */
export class Transport {
  readonly #options: TransportOptions;
  readonly #connection: Connection;
  readonly #bucket: TokenBucket | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#connection = new Connection(options.config);
    const { rate } = options;
    this.#bucket = rate === undefined ? undefined : new TokenBucket(rate.perSecond, rate.burst, performance.now());
  }

  /**
   * Sends and returns the parsed answer.
   *
   * @throws {@link KubeError}; the signal's reason where it aborted
   */
  async json(send: Send, signal: AbortSignal): Promise<unknown> {
    const timeoutMs = send.timeoutMs ?? this.#options.timeoutMs ?? 30_000;
    const endMs = performance.now() + timeoutMs;
    using deadline = new Deadline(signal).set(timeoutMs, `no answer within ${timeoutMs} ms`);
    const waitMs = this.#bucket?.reserve(performance.now()) ?? 0;
    if (waitMs > 0) await sleep(waitMs, deadline.signal);
    for (let attempt = 0; ; attempt++) {
      try {
        const body = await this.#exchange(send, deadline.signal);
        const text = await body.text();
        return text === "" ? undefined : parse(send, text);
      } catch (error) {
        const failure = this.#failure(send, error, deadline, signal);
        const delayMs = retryDelayMs(failure, attempt);
        if (delayMs === undefined || performance.now() + delayMs >= endMs) throw failure;
        if (failure.status === 401) this.#connection.refresh();
        if (delayMs > 0) await sleep(delayMs, deadline.signal);
      }
    }
  }

  /** Sends and returns the answer's stream, after its headers came within `timeoutMs`. The caller's signal ends the stream. */
  async stream(send: Send, signal: AbortSignal): Promise<Readable> {
    const timeoutMs = send.timeoutMs ?? this.#options.timeoutMs ?? 30_000;
    for (let attempt = 0; ; attempt++) {
      // Its signal is the stream's: it lives as long, without an end of its own once the headers are here.
      const deadline = new Deadline(signal).set(timeoutMs, `no answer within ${timeoutMs} ms`);
      try {
        const body = await this.#exchange(send, deadline.signal);
        deadline.clear();
        body.once("close", () => deadline[Symbol.dispose]());
        return body;
      } catch (error) {
        deadline[Symbol.dispose]();
        const failure = this.#failure(send, error, deadline, signal);
        if (failure.status !== 401 || attempt > 0) throw failure;
        this.#connection.refresh();
      }
    }
  }

  /** Turns what a stream or an exchange threw into a {@link KubeError}, or throws the signal's reason. */
  #failure(send: Send, error: unknown, deadline: Deadline, signal: AbortSignal): KubeError {
    if (signal.aborted) throw signal.reason;
    if (error instanceof KubeError) return error;
    const reason = deadline.expired === undefined ? "NoAnswer" : "Deadline";
    return new KubeError(`${send.method} ${send.path}: ${describe(deadline.expired ?? error)}`, { status: 0, reason, cause: error });
  }

  async #exchange(send: Send, signal: AbortSignal): Promise<Readable & { text(): Promise<string> }> {
    const startMs = performance.now();
    let status = 0;
    try {
      const { base, headers, dispatcher } = await this.#connection.open();
      const answer = await undiciRequest(`${base}${send.path}${queryText(send.query)}`, {
        dispatcher,
        method: send.method,
        headers: {
          ...headers,
          "user-agent": this.#options.userAgent,
          accept: send.accept ?? "application/json",
          ...(send.body === undefined ? {} : { "content-type": send.contentType ?? "application/json" }),
        },
        ...(send.body === undefined ? {} : { body: JSON.stringify(send.body) }),
        signal,
        // The deadlines are ours alone.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      status = answer.statusCode;
      if (status >= 200 && status < 300) return answer.body;
      const retryAfter = answer.headers["retry-after"];
      throw errorFromAnswer(
        `${send.method} ${send.path}`,
        status,
        await answer.body.text(),
        Array.isArray(retryAfter) ? retryAfter[0] : retryAfter,
      );
    } finally {
      this.#options.onCall?.({
        verb: send.verb,
        resource: send.resource,
        ...(send.subresource === undefined ? {} : { subresource: send.subresource }),
        status,
        durationMs: performance.now() - startMs,
      });
    }
  }

  /** Drops all connections. */
  async close(): Promise<void> {
    await this.#connection.close();
  }
}

/** When to send again, in milliseconds; undefined for never. */
function retryDelayMs(error: KubeError, attempt: number): number | undefined {
  if (error.status === 401) return attempt === 0 ? 0 : undefined;
  if (attempt >= MAX_RETRIES) return undefined;
  // The server did not begin such a request, so that even a create may be sent again. A 500 without the header may have been carried out.
  if (error.status === 429) return error.retryAfterMs ?? 1000;
  return error.status >= 500 && error.reason !== "Timeout" ? error.retryAfterMs : undefined;
}

function parse(send: Send, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KubeError(`${send.method} ${send.path}: the answer is not JSON`, { status: 0, reason: "Garbage", cause });
  }
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const { code } = cause as { readonly code?: unknown };
  return cause.message || (typeof code === "string" ? code : cause.name);
}

function queryText(query: Send["query"]): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined && value !== "") search.set(name, String(value));
  return search.size === 0 ? "" : `?${search.toString()}`;
}
