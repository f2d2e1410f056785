import { Deadline } from "@aibrix/kube";
import { Agent, type Dispatcher, request } from "undici";
import { CallError } from "./agent.ts";

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface HttpCall {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly body?: object;
  readonly apiKey?: string | undefined;
  readonly timeoutMs: number;
}

/** Answers of pods are small; what is longer is none of theirs. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** Connections to pods. One for all: it keeps few open per address, and none of one pod waits for another. */
export function podDispatcher(): Dispatcher {
  return new Agent({ connect: { timeout: 2_000 }, keepAliveTimeout: 10_000, headersTimeout: 0, bodyTimeout: 0, maxResponseSize: -1 });
}

/**
 * Calls a pod and reads the whole answer.
 *
 * @throws {@link CallError} with `reason`, retryable, where no whole answer comes; the signal's reason where it aborted
 */
export async function call(
  dispatcher: Dispatcher,
  { method, url, body, apiKey, timeoutMs }: HttpCall,
  reason: "RuntimeUnavailable" | "EngineUnavailable",
  signal: AbortSignal,
): Promise<Answer> {
  using deadline = new Deadline(signal).set(timeoutMs, "no answer in time");
  try {
    const answer = await request(url, {
      dispatcher,
      method,
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: deadline.signal,
    });
    return { status: answer.statusCode, body: await bounded(answer.body) };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new CallError(reason, `${WHO[reason]} ${failureText(error, timeoutMs)}: ${REMEDY[reason]}`, { retryable: true, cause: error });
  }
}

const WHO = { RuntimeUnavailable: "the sidecar aibrix-runtime", EngineUnavailable: "the engine" } as const;
const REMEDY = {
  RuntimeUnavailable: "look into the log of the pod's container aibrix-runtime; it is tried again",
  EngineUnavailable: "look into the engine's log, and check the port in the label model.aibrix.ai/port; it is tried again",
} as const;

async function bounded(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of stream) {
    bytes += part.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Whether nobody listens there: what ran there does not run. Silence and broken connections say nothing of that. */
export function isRefused(error: unknown): boolean {
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    if ((e as { readonly code?: unknown }).code === "ECONNREFUSED") return true;
    if (e instanceof AggregateError && e.errors.length > 0) return e.errors.every(isRefused);
  }
  return false;
}

/** Whether a call had no answer in time. */
export function isTimeout(error: unknown): boolean {
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++)
    if (e.name === "TimeoutError" || e.name === "DeadlineError") return true;
  return false;
}

/** What happened, in a few words, for a call that got no answer. */
export function failureText(error: unknown, timeoutMs: number): string {
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    const { code } = e as { readonly code?: unknown };
    if (e.name === "TimeoutError" || e.name === "DeadlineError" || code === "UND_ERR_CONNECT_TIMEOUT")
      return `does not answer within ${timeoutMs / 1000} s`;
    if (typeof code === "string") return `does not answer (${code})`;
    if (e instanceof AggregateError && e.errors.length > 0) return failureText(e.errors[0], timeoutMs);
  }
  return `does not answer (${error instanceof Error ? error.message : String(error)})`;
}
