import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import pRetry from "p-retry";
import { AdapterError, messageOf, networkCode } from "../../errors.ts";
import type { Listing, RemoteFile, Source } from "../sources/source.ts";

/** How long a source may be silent, in milliseconds. There is no deadline over a whole download: size and line decide that. */
export const IDLE_TIMEOUT_MS = 30_000;

/** Retries within one try of an adapter; after these the adapter's own backoff takes over, which its status shows. */
const RETRY = { retries: 3, minTimeout: 200, maxTimeout: 5_000, factor: 2, randomize: true } as const;

/** Runs a call to a source, again where that may help. */
export async function retried<T>(call: () => Promise<T>, signal: AbortSignal, retries: number = RETRY.retries): Promise<T> {
  return await pRetry(call, {
    ...RETRY,
    retries,
    signal,
    // A full volume does not empty itself in a second, and who waits for a silent source holds a place that others could use.
    shouldRetry: ({ error }) => error instanceof AdapterError && error.retryable && error.reason !== "StorageFull" && !isTimeout(error),
  });
}

/** What marks an error as one of waiting too long. */
export function timeoutError(): DOMException {
  return new DOMException("nothing came in time", "TimeoutError");
}

function isTimeout(error: unknown): boolean {
  return /TIMEOUT|TIMEDOUT/.test(networkCode(error) ?? "");
}

export interface Downloaded {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** How and where to bring a file. */
export interface DownloadOptions {
  /** Path of the file to write. */
  readonly target: string;
  /** Called with every step of progress; negative when a try is given up. */
  readonly onBytes: (bytes: number) => void;
  readonly retries?: number;
}

/**
 * Brings one file here, checked against what the source said of it.
 *
 * @throws AdapterError `ArtifactUnavailable`, `ArtifactInvalid` where the content is not what was announced, `StorageFull`
 */
export async function downloadFile(
  source: Source,
  listing: Listing,
  file: RemoteFile,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<Downloaded> {
  const attempt = async () => {
    let bytes = 0;
    const onBytes = (n: number) => {
      bytes += n;
      options.onBytes(n);
    };
    try {
      return await once(source, listing, file, { ...options, onBytes }, signal);
    } catch (error) {
      options.onBytes(-bytes);
      throw error;
    }
  };
  try {
    return await retried(attempt, signal, options.retries);
  } catch (error) {
    // Again and again the same wrong content: the source itself is wrong, and only a change there helps.
    if (error instanceof AdapterError && error.reason === "ArtifactInvalid")
      throw new AdapterError(error.reason, error.message, { retryable: false });
    throw error;
  }
}

async function once(
  source: Source,
  listing: Listing,
  file: RemoteFile,
  { target, onBytes }: DownloadOptions,
  signal: AbortSignal,
): Promise<Downloaded> {
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(timeoutError()), IDLE_TIMEOUT_MS);
  const either = AbortSignal.any([signal, idle.signal]);
  const hash = createHash("sha256");
  let sizeBytes = 0;
  try {
    const body = await source.read(listing, file, undefined, either);
    await pipeline(
      body,
      async function* measure(chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          timer.refresh();
          sizeBytes += chunk.length;
          if (sizeBytes > file.sizeBytes) throw mismatch(file, `it is longer than the ${file.sizeBytes} bytes that were announced`);
          hash.update(chunk);
          onBytes(chunk.length);
          yield chunk;
        }
      },
      createWriteStream(target),
      { signal: either },
    );
  } catch (error) {
    if (idle.signal.aborted && !signal.aborted)
      throw new AdapterError(
        "ArtifactUnavailable",
        `${file.name}: the source sent nothing for ${IDLE_TIMEOUT_MS / 1000} s; it is tried again`,
        { cause: idle.signal.reason },
      );
    throw signal.aborted ? error : explain(file, error);
  } finally {
    clearTimeout(timer);
  }
  const sha256 = hash.digest("hex");
  if (sizeBytes !== file.sizeBytes) throw mismatch(file, `${sizeBytes} bytes came, ${file.sizeBytes} were announced`);
  if (file.sha256 !== undefined && file.sha256 !== sha256) throw mismatch(file, `its sha256 is ${sha256}, the source says ${file.sha256}`);
  return { name: file.name, sizeBytes, sha256 };
}

/** Content other than announced may be an accident of the way: it is read again before it counts as the source's fault. */
function mismatch(file: RemoteFile, detail: string): AdapterError {
  return new AdapterError("ArtifactInvalid", `${file.name} arrived damaged: ${detail}; upload the file again`, { retryable: true });
}

function explain(file: RemoteFile, error: unknown): unknown {
  if (error instanceof AdapterError) return error;
  const code = networkCode(error);
  if (code !== undefined)
    return new AdapterError("ArtifactUnavailable", `${file.name}: the connection broke (${code}); it is tried again`, { cause: error });
  // The S3 client's own check of a checksum that the server sent along.
  if (/checksum mismatch/i.test(messageOf(error))) return mismatch(file, messageOf(error).slice(0, 200));
  return storageError(error);
}

/** Errors of the volume, told in words; anything else comes back as it is. */
export function storageError(error: unknown): unknown {
  const { code, path } = (error ?? {}) as { code?: unknown; path?: unknown };
  if (code === "ENOSPC" || code === "EDQUOT")
    return new AdapterError(
      "StorageFull",
      `there is no room on the volume of --artifacts-dir: enlarge it or free some; it is tried again`,
      { cause: error },
    );
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new AdapterError(
      "ArtifactUnavailable",
      `${String(path)} cannot be used (${code}): give the runtime's user access to it; it is tried again`,
      {
        cause: error,
      },
    );
  return error;
}
