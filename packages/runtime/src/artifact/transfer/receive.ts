import type { Readable } from "node:stream";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { AdapterError, messageOf, networkCode } from "../../errors.ts";
import type { ByteRange, Listing, RemoteFile, Source } from "../sources/source.ts";
import type { RateLimit } from "./rate-limit.ts";
import { timeoutError } from "./retry.ts";
import { storageError } from "./storage-error.ts";

/** How long a source may be silent, in milliseconds. */
export const IDLE_TIMEOUT_MS = 30_000;

/** What is asked of the source. */
export interface Request {
  readonly source: Source;
  readonly listing: Listing;
  readonly file: RemoteFile;
  /** Where in the file the bytes begin and end. */
  readonly span: ByteRange;
  /** Asked for as a part; else as the whole file, of which `span` must be all. */
  readonly asRange: boolean;
}

/** Where the bytes go. Waiting for it does not count as the source's silence. */
export type Sink = (chunk: Buffer) => Promise<void> | undefined;

/**
 * Asks once and hands on what comes, at the pace of the sink and the limit.
 *
 * @throws AdapterError; what the sink got until then is right
 */
export async function receive(request: Request, sink: Sink, rate: RateLimit, signal: AbortSignal): Promise<void> {
  const { source, listing, file, span, asRange } = request;
  const idle = new IdleTimer(IDLE_TIMEOUT_MS);
  const either = AbortSignal.any([signal, idle.signal]);
  const expected = span.end - span.start;
  let came = 0;
  let body: Readable | undefined;
  try {
    idle.start();
    body = await source.read(listing, file, asRange ? span : undefined, either);
    const take = (chunk: Buffer) => {
      came += chunk.length;
      if (came > expected) throw damaged(file, `it is longer than the ${file.sizeBytes} bytes that were announced`);
      const landing = sink(chunk);
      const waitMs = rate.owe(chunk.length);
      if (landing === undefined && waitMs === 0) return idle.start();
      idle.stop();
      return landed(landing, waitMs, either).then(() => idle.start());
    };
    await consume(body, take, either);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (idle.signal.aborted)
      throw new AdapterError(
        "ArtifactUnavailable",
        `${file.name}: the source sent nothing for ${IDLE_TIMEOUT_MS / 1000} s; it is tried again`,
        { cause: idle.signal.reason },
      );
    throw explain(file, error);
  } finally {
    idle.stop();
    idle.end();
    body?.destroy();
  }
  if (came < expected) throw damaged(file, `${span.start + came} bytes came, ${file.sizeBytes} were announced`);
}

async function landed(landing: Promise<void> | undefined, waitMs: number, signal: AbortSignal): Promise<void> {
  await landing;
  if (waitMs > 0) await setTimeoutPromise(waitMs, undefined, { signal });
}

/**
 * Hands on each chunk, and pauses the stream while one is being taken. By events: an iterator costs several promises for each chunk, and does not
 * end by a signal where the stream hangs.
 */
function consume(body: Readable, take: (chunk: Buffer) => Promise<void> | void, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => reject(signal.reason as Error);
  let failed = false;
  let ended = false;
  let taking: Promise<void> = Promise.resolve();
  const fail = (error: unknown) => {
    failed = true;
    reject(error);
    body.destroy();
  };
  body.on("data", (chunk: Buffer) => {
    if (failed) return;
    try {
      const taken = take(chunk);
      if (taken === undefined) return;
      body.pause();
      taking = taken.then(() => void body.resume(), fail);
    } catch (error) {
      fail(error);
    }
  });
  body.on("end", () => {
    ended = true;
    void taking.then(resolve);
  });
  body.on("error", reject);
  // After its end a stream closes at once, while the last chunk may still be on its way to the disk.
  body.on("close", () => ended || reject(Object.assign(new Error("the answer ended early"), { code: "ERR_STREAM_PREMATURE_CLOSE" })));
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  return promise.finally(() => signal.removeEventListener("abort", abort));
}

/** Content other than announced may be an accident of the way: it is read again before it counts as the source's fault. */
export function damaged(file: RemoteFile, detail: string): AdapterError {
  return new AdapterError("ArtifactInvalid", `${file.name} arrived damaged: ${detail}; upload the file again`, { retryable: true });
}

function explain(file: RemoteFile, error: unknown): unknown {
  if (error instanceof AdapterError) return error;
  const code = networkCode(error);
  if (code !== undefined)
    return new AdapterError("ArtifactUnavailable", `${file.name}: the connection broke (${code}); it is tried again`, { cause: error });
  // Node's HTTP client says it in words only.
  if (error instanceof Error && /^(aborted|terminated|Premature close)$/i.test(messageOf(error)))
    return new AdapterError("ArtifactUnavailable", `${file.name}: the connection broke; it is tried again`, { cause: error });
  return storageError(error);
}

/** Measures silence by a clock that never jumps; stopped while the source is not what is waited for. */
class IdleTimer {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #waiting = false;

  constructor(ms: number) {
    this.#timer = setTimeout(() => {
      if (this.#waiting) this.#abort.abort(timeoutError());
      else this.#timer.refresh();
    }, ms);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  start(): void {
    this.#waiting = true;
    this.#timer.refresh();
  }

  stop(): void {
    this.#waiting = false;
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
